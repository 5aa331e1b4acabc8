"""The command line, as people call it."""

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support.pace import paced
from support.tracks import git

from pipeline_containers.images.image import StoredImage


def call(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    program = "import pipeline_containers.cli.root as cli; cli.main()"
    command = [sys.executable, "-c", program, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=paced(60))


@pytest.mark.e2e
def test_build_publish_list_validate_run(
    work: Path, repository: Path, commit: Callable[..., str], base_images: Path
) -> None:
    sha = commit(
        {
            "Dockerfile": "FROM localhost/pipeline-base/busybox:1\nCOPY . /opt/test-runner\n",
            "bin/run.sh": '#!/bin/sh\necho hi; echo \'{"status": "fail"}\' > "$3/results.json"\n',
        }
    )
    places: list[str | Path] = ["--registry", work / "registry"]
    source: list[str | Path] = [f"file://{repository}", "main", "--base-images", base_images]
    source += ["--work", work, "--network", "none"]
    built = call("build", *source, "--json")
    assert built.returncode == 0, built.stderr
    told = json.loads(built.stdout)
    assert told == {"git_sha": sha, "valid": True, "warnings": told["warnings"]}
    assert "nothing is known of what the tool does" in told["warnings"][0]
    assert "STEP 2/2" in built.stderr
    assert "==> validating" in built.stderr
    assert "warning: no folder in tests/ has expected_results.json" in built.stderr
    assert call("list", "x", *places).stdout == "\n"
    published = call("publish", *source, "--repository", "x", *places, "--json")
    assert json.loads(published.stdout)["outcome"] == "built", published.stderr
    assert "Using cache" in published.stderr
    again = call("publish", *source, "--repository", "x", *places)
    assert again.stdout.startswith(f"ignored x:git-{sha} sha256:")
    assert call("list", "x", *places).stdout.startswith(f"git-{sha} sha256:")
    valid = call("validate", f"x:git-{sha}", "--source", repository, *places, "--work", work)
    assert valid.stdout.startswith("valid sha256:"), valid.stderr
    other = call("validate", f"x:git-{sha}", "--kind", "analyser", *places, "--work", work)
    assert other.returncode == 4
    assert "not a usable analyser image" in other.stderr
    ran = call("run", f"x:git-{sha}", "two-fer", repository, *places, "--work", work, "--json")
    assert ran.returncode == 0, ran.stderr
    report = json.loads(ran.stdout)
    assert (report["ending"], report["stdout"]) == ("exited", "hi\n")
    assert report["outputs"] == {"status": "fail"}


@pytest.mark.e2e
def test_submodules_and_lfs_objects_are_built_where_they_are_asked_for(
    work: Path, repository: Path, commit: Callable[..., str], base_images: Path
) -> None:
    script = b'#!/bin/sh\necho \'{"status": "fail"}\' > "$3/results.json"\n'
    oid = hashlib.sha256(script).hexdigest()
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {len(script)}\n"
    kept = repository / ".git/lfs/objects" / oid[:2] / oid[2:4] / oid
    kept.parent.mkdir(parents=True)
    kept.write_bytes(script)
    lib = commit({".gitattributes": "*.sh filter=lfs\n", "bin/run.sh": pointer})
    git(repository, "rm", "-r", "--quiet", "bin")
    git(repository, "update-index", "--add", "--cacheinfo", f"160000,{lib},lib")
    (repository / ".gitmodules").write_text(
        f'[submodule "x"]\npath = lib\nurl = {repository.as_uri()}'
    )
    (repository / "Dockerfile").write_text(
        "FROM localhost/pipeline-base/busybox:1\nCOPY lib /opt/test-runner\n"
    )
    git(repository, "add", ".gitmodules", "Dockerfile")
    git(repository, "commit", "--quiet", "--message=link")
    command: list[str | Path] = ["build", repository.as_uri(), "main", "--base-images", base_images]
    command += ["--work", work, "--network", "none"]
    without = call(*command)
    assert without.returncode == 4
    assert "==> warning: these submodules are empty folders: 'lib'" in without.stderr
    half = call(*command, "--submodules")
    assert half.returncode == 4
    assert "==> warning: these files are Git LFS pointers, not their content: 'lib/bin/run.sh'" in (
        half.stderr
    )
    whole = call(*command, "--submodules", "--lfs")
    assert whole.returncode == 0, whole.stderr
    assert whole.stdout.startswith("valid ")


@pytest.mark.e2e
def test_run_a_folder_that_gives_no_result(
    work: Path, make_image: Callable[..., StoredImage]
) -> None:
    top, _ = make_image("exit 3").layers
    (top / "bin").mkdir()
    (top / "bin/sh").write_bytes(Path("/bin/busybox").read_bytes())
    (top / "bin/sh").chmod(0o755)
    (work / "solution").mkdir()
    ran = call("run", top, "two-fer", work / "solution", "--work", work)
    assert ran.returncode == 4
    assert "exited, status 3" in ran.stderr
    assert ran.stdout == "results.json is missing\n"
    assert list((work / "sandboxes").iterdir()) == []


@pytest.mark.e2e
def test_errors_are_one_line(work: Path) -> None:
    failed = call("publish", f"file://{work}/none", "-x", "--repository", "x", "--work", work)
    assert failed.returncode == 2
    options: list[str | Path] = ["--repository", "x", "--work", work]
    failed = call("publish", *options, "--", f"file://{work}/none", "--upload-pack=x")
    assert failed.returncode == 1
    assert failed.stderr.startswith("error: '--upload-pack=x' is not a git reference")
    assert len(failed.stderr.splitlines()) == 1


def test_importing_is_light() -> None:
    program = "import pipeline_containers, sys; print(*sorted(sys.modules))"
    loaded = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert not {"click", "subprocess", "boto3", "pipeline_containers.system.syscalls"} & set(
        loaded.stdout.split()
    )
