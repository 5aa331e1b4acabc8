"""One example of every message, by name: what the golden files hold.

Values are chosen so that each field shows; where a message has forms that exclude each other
(an input by S3 or inline, a 200 or an error), it has an example of each.
"""

from typing import Any

import msgspec
from msgspec import Raw, Struct

from pipeline_protocol import link, replies, requests, responses, settings, status

VERSION = "git-" + "0123456789abcdef0123456789abcdef01234567"
DIGEST = "sha256:" + "ab" * 32
RUNNER: dict[str, Any] = {"track_slug": "ruby", "channel": "test_runners"}
SOLUTION: dict[str, Any] = {
    "id": "run-1",
    "track_slug": "ruby",
    "exercise_slug": "two-fer",
    "container_version": VERSION,
}

PNG = requests.BinaryFile(b"\x89PNG\r\n\x1a\n\x00")
OPTIONS: dict[str, Any] = {"timeout_s": 30.0, "progress": True}
INLINE: dict[str, Any] = {
    "files": {
        "two_fer.rb": 'def two_fer = "One for you, one for mé."\n',
        "lib/a.rb": "",
        "a.png": PNG,
    },
    "execution_timeout": 5.5,
    "priority": requests.Priority.BACKGROUND,
}

REQUESTS: dict[str, requests.Request] = {
    "test_solution": requests.TestSolution(**SOLUTION, s3_uri="s3://submissions/run-1/"),
    "test_solution-files": requests.TestSolution(**SOLUTION, **INLINE, **OPTIONS),
    "analyse_solution": requests.AnalyseSolution(**SOLUTION, s3_uri="s3://submissions/run-1/"),
    "analyse_solution-files": requests.AnalyseSolution(**SOLUTION, **INLINE, **OPTIONS),
    "recommend_solution": requests.RecommendSolution(**SOLUTION, s3_uri="file:///solutions/1/"),
    "recommend_solution-files": requests.RecommendSolution(**SOLUTION, **INLINE, **OPTIONS),
    "represent_solution": requests.RepresentSolution(**SOLUTION, s3_uri="file:///solutions/1/"),
    "represent_solution-files": requests.RepresentSolution(**SOLUTION, **INLINE, **OPTIONS),
    "build_container": requests.BuildContainer(**RUNNER, git_reference="master"),
    "build_container-progress": requests.BuildContainer(
        **RUNNER, git_reference="v1.2/rc+1", id="build-1", **OPTIONS
    ),
    "list_available_containers": requests.ListAvailableContainers(**RUNNER),
    "list_available_containers-id": requests.ListAvailableContainers(
        **RUNNER, id="list-1", version=VERSION, **OPTIONS
    ),
    "deploy_container_version": requests.DeployContainerVersion(**RUNNER, new_version=VERSION),
    "unload_container_version": requests.UnloadContainerVersion(**RUNNER, version=VERSION),
    "update_container_versions": requests.UpdateContainerVersions(
        **RUNNER, versions=(VERSION, "v1.2.3")
    ),
    "deployment_check": requests.DeploymentCheck(**RUNNER),
    "current_config": requests.CurrentConfig(),
    "current_worker_status": requests.CurrentWorkerStatus(),
    "describe_workers": requests.DescribeWorkers(),
    "ping": requests.Ping(),
    "cancel": requests.Cancel(id="run-1", of_action="test_solution"),
    "restart_workers": requests.RestartWorkers(),
    "drain_worker": requests.DrainWorker(identity="worker-1"),
    "dismiss_worker": requests.DismissWorker(identity="worker-1"),
    "forget_images": requests.ForgetImages(workers=("worker-1", "worker-2")),
    "read_audit": requests.ReadAudit(limit=20),
    "configure_worker": requests.ConfigureWorker(
        channel="test_runners", topics=("ruby", "bash"), protocol=link.PROTOCOL
    ),
}

# --- replies

RAN = replies.Context(
    timing=replies.Timing(queued_s=0.25, setup_s=0.125, run_s=1.5, total_s=1.75),
    usage=replies.JobUsage(
        wall_s=1.5,
        cpu_s=1.25,
        peak_memory_bytes=50_000_000,
        oom_kills=1,
        peak_pids=4,
        stdout_bytes=6,
        stderr_bytes=9,
    ),
    logs=replies.Logs(stdout="1 run\n", stderr="warning: \ufffd"),
    exit_status=0,
    replaced=("stderr",),
    warnings=("results.json: its version is written as text, and is a number now",),
    invocation={"argv": ["/opt/test-runner/bin/run.sh", "two-fer", "/mnt/", "/mnt/"]},
    worker="worker-1",
    attempt=1,
    image_digest=DIGEST,
)
LEFT_BEHIND = replies.Context(
    logs=replies.Logs(stderr="boom\n"),
    exit_status=1,
    result={"version": 3, "status": "error"},
    worker="worker-1",
    attempt=2,
)
NOBODY = replies.Context(
    workers=replies.WorkerCounts(scoped=0, generic=2, busy=2),
    retry_after_s=1.0,
)
RESULTS: dict[str, Any] = {
    "version": 3,
    "status": "pass",
    "tests": [{"name": "test_no_name", "status": "pass"}],
}

_CONTEXTS = {
    status.NO_WORKER: NOBODY,
    status.NOT_READY: NOBODY,
    status.QUOTA_USED: replies.Context(retry_after_s=1.0),
    status.TIMED_OUT: RAN,
    status.TOO_MUCH_OUTPUT: RAN,
    status.LIMIT_EXCEEDED: RAN,
    status.TOOL_FAILED: LEFT_BEHIND,
    status.BAD_RESULT: LEFT_BEHIND,
}

REPLIES: dict[str, replies.Reply] = {
    "200": replies.Reply(
        replies.StatusLine.of(status.OK), Raw(msgspec.json.encode(RESULTS)), context=RAN
    ),
    "200-bare": replies.Reply(replies.StatusLine.of(status.OK), Raw(b'{"version":"0.1.0"}')),
    **{
        str(code): replies.Reply(
            replies.StatusLine.of(code, f"what went wrong ({code}), and what to do next"),
            context=_CONTEXTS.get(code, replies.Context()),
        )
        for code in status.STATUSES
        if code >= 400
    },
}
"""Every status that comes over the wire; 101 to 103 do not."""

PROGRESS: dict[str, replies.ProgressReply] = {
    "progress": replies.ProgressReply(replies.ProgressLines(("STEP 1/4: FROM ruby", "… done"))),
}

_READY = link.VersionState("ruby", VERSION, link.Readiness.READY, DIGEST)
_MISSING = responses.MissingWorker(
    "worker-2", "test_runners", ("ruby",), 2, 61.5, "its connection is gone"
)
_WORKER = responses.WorkerDescription(
    identity="worker-1",
    channel="test_runners",
    topics=("ruby",),
    slots=2,
    running=1,
    draining=False,
    silent_s=0.25,
    load=0.5,
    versions=(
        _READY,
        link.VersionState(
            "ruby", "v2", link.Readiness.PREPARING, percent=40, phase=link.PreparingPhase.PULLING
        ),
        link.VersionState("ruby", "v3", link.Readiness.FAILED, reason="no space left"),
    ),
    trouble="this host failed its check",
    host={"runtime": "runc 1.1.5", "cgroups": "version 2, below /system.slice/worker.service"},
    keeps="keeps 1 image that is not wanted: the router is of another installation",
)

RESPONSES: dict[str, Struct] = {
    "Analysis": responses.Analysis({"status": "approve", "comments": []}, tags=["uses:string"]),
    "Recommendations": responses.Recommendations([{"slug": "leap"}]),
    "Representation": responses.Representation("def a", {"a": "two_fer"}, {"version": 1}),
    "Build": responses.Build("built", "ruby-test-runner", VERSION, DIGEST, VERSION[4:]),
    "AvailableContainers": responses.AvailableContainers(
        "ruby-test-runner", (VERSION,), {VERSION: DIGEST}
    ),
    "WantedVersions": responses.WantedVersions("test_runners", "ruby", (VERSION,), 2),
    "Deployment": responses.Deployment(
        "test_runners",
        "ruby",
        responses.DeployState.PARTLY,
        (
            responses.VersionDeployment(
                VERSION,
                responses.DeployState.PARTLY,
                DIGEST,
                (
                    responses.WorkerVersion("worker-1", "ready"),
                    responses.WorkerVersion(
                        "worker-2", "preparing", percent=40, phase=link.PreparingPhase.PULLING
                    ),
                    responses.WorkerVersion("worker-3", "failed", reason="no space left"),
                ),
            ),
        ),
    ),
    "WorkerStatus": responses.WorkerStatus(
        {
            "test_runners": responses.ChannelStatus(
                2, 4, 3, 1, unready_slots=2, missing=1, keeping=1
            )
        },
        {"web": responses.ClientStatus(2, 3, quota=5), "nightly": responses.ClientStatus(1, 0)},
        {"a connection with an unknown key": 3},
    ),
    "Workers": responses.Workers(
        (_WORKER,),
        (_MISSING,),
    ),
    "Pong": responses.Pong("0.1.0", 12.5),
    "Cancelled": responses.Cancelled(1),
    "Told": responses.Told(("worker-1", "worker-2")),
    "Audit": responses.Audit(
        (
            responses.AuditEntry(
                "2026-12-01T05:00:00.000+00:00",
                "olga",
                "deploy_container_version",
                {"channel": "test_runners", "track_slug": "ruby"},
                (VERSION,),
                (VERSION, "v1.2.3"),
                "done",
            ),
        )
    ),
    "LinkAddress": responses.LinkAddress(5556, link.PROTOCOL, ("topic 'zig' is not configured",)),
}

# --- the link

FROM_WORKER: dict[str, link.FromWorker] = {
    "hello": link.Hello(
        identity="worker-1",
        instance="0a1b2c3d",
        channel="test_runners",
        topics=("ruby",),
        slots=2,
        versions=(
            _READY,
            link.VersionState(
                "ruby",
                "v2",
                link.Readiness.PREPARING,
                percent=40,
                phase=link.PreparingPhase.CHECKING,
            ),
            link.VersionState("ruby", "v3", link.Readiness.FAILED, reason="no space left"),
        ),
        jobs=(link.HeldJob(b"\x00\xffkey", 1 << 40, 1, 1500, done=True),),
        epoch=7,
        draining=True,
        trouble="this host failed its check",
        host={"runtime": "runc 1.1.5", "layers": "mapped mounts"},
    ),
    "hello-newer": link.Hello("worker-1", "0a1b2c3d", "builders", (), 1, link.PROTOCOL + 1),
    "heartbeat": link.WorkerHeartbeat(
        running=1,
        load=0.5,
        draining=True,
        trouble="this host failed its check",
        keeps="keeps 1 image that is not wanted: the router is of another installation",
    ),
    "versions": link.Versions((link.VersionState("ruby", VERSION, link.Readiness.REMOVED),)),
    "progress": link.Progress(job=1 << 40, attempt=1),
    "result": link.Result(job=1 << 40, attempt=2, code=200),
    "goodbye": link.Goodbye("drained"),
}

EVERY_LIMIT = settings.LimitSettings(
    wall_s=10.0,
    memory_bytes=settings.GIB,
    cpus=0.5,
    pids=64,
    stdout_bytes=1000,
    stderr_bytes=2000,
    result_bytes=3000,
    job_folder_bytes=4000,
    job_folder_files=50,
    tmp_bytes=6000,
    writable_root_bytes=7000,
    ptrace=True,
    root_capabilities=True,
)

TO_WORKER: dict[str, link.ToWorker] = {
    "welcome": link.Welcome(1, epoch=7, liveness_s=5.0, installation="0a" * 16),
    "refused": link.Refused(link.RefusalReason.IDENTITY_ALIVE, "worker-1 is already there"),
    "heartbeat": link.RouterHeartbeat(epoch=7),
    "job": link.Job(1 << 40, 1, remaining_ms=30_000, queued_ms=12, key=b"\x00\xffkey", alone=True),
    "cancel": link.CancelJob(job=1 << 40, attempt=1),
    "result_ack": link.ResultAck(((1 << 40, 1), (1 << 40, 2))),
    "configure": link.Configure(
        settings=settings.Settings(
            registry=settings.RegistrySettings("docker", "registry:5000/tools", "exercism/{tool}"),
            sources=settings.SourceSettings("https://git.test/{tool}", submodules=True, lfs=True),
            inputs=settings.InputSettings(("s3://submissions/",)),
            tools={"test_runners": "{track}-test-runner"},
            defaults=settings.TrackLimits(EVERY_LIMIT, settings.CeilingSettings(wall_s=60.0)),
            tracks={
                "ruby": settings.TrackLimits(
                    settings.LimitSettings(cpus=2.0), settings.CeilingSettings(10.0)
                )
            },
            versions=(settings.WantedVersion("ruby", VERSION, DIGEST),),
            channels={
                "test_runners": settings.ChannelLimits(
                    settings.TrackLimits(EVERY_LIMIT, settings.CeilingSettings(60.0), "off"),
                    {
                        "ruby": settings.TrackLimits(
                            settings.LimitSettings(wall_s=30.0),
                            settings.CeilingSettings(30.0),
                            validation="warn",
                        )
                    },
                )
            },
        ),
        credentials=settings.Credentials("AKIAEXAMPLE", "secret", "token", 1.75e9),
    ),
    "drain": link.Drain(),
    "restart": link.Restart(),
    "forget": link.Forget(),
}
