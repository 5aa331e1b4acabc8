"""The names that a container knows, whatever its image has in their place."""

import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline_containers.images.image import StoredImage
from pipeline_containers.sandbox.container.layers import LayerIds
from pipeline_containers.sandbox.container.skeleton import FILES, make_skeleton, takes_files
from pipeline_containers.sandbox.limits import Limits
from pipeline_containers.sandbox.sandbox import Sandbox
from pipeline_containers.sandbox.tool_run import ToolRun
from pipeline_containers.sandbox.tools import TOOLS

PASS = """printf '{"version": 2, "status": "pass", "tests": []}' > "$3/results.json"\n"""
NAMES = "for f in hosts hostname resolv.conf; do echo $f; cat /etc/$f; done"
TOLD = "".join(f"{name.rpartition('/')[2]}\n{text}" for name, text in FILES.items())
Change = Callable[[Path], None]


def nothing(_: Path) -> None:
    pass


def no_etc(layer: Path) -> None:
    os.mknod(layer / "etc", stat.S_IFCHR, 0)  # a layer's word for: it is gone


def own_files(layer: Path) -> None:
    (layer / "etc").mkdir()
    for name in FILES:
        (layer / name).write_text("got through\n")


def links(layer: Path) -> None:
    (layer / "etc").mkdir()
    for name in FILES:
        (layer / name).symlink_to("/opt/test-runner/bin/run.sh")


def folders(layer: Path) -> None:
    for name in FILES:
        (layer / name / "below").mkdir(parents=True)


def devices(layer: Path) -> None:
    (layer / "etc").mkdir()
    for name in FILES:
        os.mkfifo(layer / name)


@pytest.mark.e2e
@pytest.mark.parametrize("change", [nothing, no_etc, own_files, links, folders, devices])
def test_names_are_told_whatever_the_image_has(
    sandbox: Sandbox,
    make_image: Callable[..., StoredImage],
    quick_limits: Limits,
    change: Change,
) -> None:
    image = make_image(f"{NAMES}; hostname >&2; {PASS}")
    change(image.layers[0])
    run = ToolRun(image, TOOLS["test_runner"], "a", lambda _: None, quick_limits)
    report = sandbox.run(run)
    assert report.succeeded
    assert report.stdout == TOLD
    assert report.stderr == "tool\n"


@pytest.mark.e2e
def test_the_image_keeps_the_rest_of_its_folder(
    sandbox: Sandbox, make_image: Callable[..., StoredImage], quick_limits: Limits
) -> None:
    image = make_image(f"id -un; ls -ld /etc /etc/hosts | cut -c1-10; {PASS}")
    run = ToolRun(image, TOOLS["test_runner"], "a", lambda _: None, quick_limits)
    assert sandbox.run(run).stdout == "root\ndrwxr-xr-x\n-rw-r--r--\n"


@pytest.mark.e2e
def test_nobody_changes_them(
    sandbox: Sandbox, make_image: Callable[..., StoredImage], quick_limits: Limits
) -> None:
    tries = ("echo x > {}", "rm {}", "mv {} {}.old", "chmod 666 {}", "ln -sf /tmp {}")
    script = "\n".join(
        f"({attempt.format(*[f'/etc/{name}'] * 2)}) 2>/dev/null && echo got through"
        for attempt in tries
        for name in ("hosts", "hostname", "resolv.conf", "new")
    )
    image = make_image(f"{script}\n{NAMES}; {PASS}")
    run = ToolRun(image, TOOLS["test_runner"], "a", lambda _: None, quick_limits)
    assert sandbox.run(run).stdout == TOLD


@pytest.mark.e2e
def test_an_image_whose_folder_is_a_link_keeps_it_and_what_it_leads_to(
    sandbox: Sandbox, make_image: Callable[..., StoredImage], quick_limits: Limits
) -> None:
    image = make_image(f"cat /etc/own; ls /etc; {PASS}")
    (image.layers[0] / "etc").symlink_to("opt/test-runner/etc")
    own = image.layers[0] / "opt/test-runner/etc/own"
    own.parent.mkdir()
    own.write_text("kept\n")
    run = ToolRun(image, TOOLS["test_runner"], "a", lambda _: None, quick_limits)
    assert sandbox.run(run).stdout == "kept\nown\n"
    assert sorted(os.listdir(own.parent)) == ["own"], "nothing is made where a link leads to"


def test_files_lie_over_a_folder_and_not_over_a_link(work: Path) -> None:
    layers = [work / name for name in ("bare", "folder", "link", "file", "gone")]
    for layer in layers:
        layer.mkdir()
    bare, folder, link, file, gone = layers
    (folder / "etc").mkdir()
    (link / "etc").symlink_to("elsewhere")
    (file / "etc").write_text("")
    os.mknod(gone / "etc", stat.S_IFCHR, 0)
    assert takes_files([bare])
    assert takes_files([bare, folder, link])
    assert takes_files([gone, link])
    assert not takes_files([bare, link, folder])
    assert not takes_files([file, folder])


def test_one_that_an_older_version_made_is_completed_for_its_owner(work: Path) -> None:
    folder = work / "skeleton"
    make_skeleton(folder, has_files=True)
    shutil.rmtree(folder / "etc")
    os.chown(folder, 70_000, 70_000)
    make_skeleton(folder, has_files=True)
    owners = {path.lstat().st_uid for path in folder.rglob("*") if "etc" in path.parts}
    assert owners == {70_000}
    assert {name: (folder / name).read_text() for name in FILES} == FILES


@pytest.mark.e2e
def test_they_can_be_read_where_layers_are_owned(
    work: Path,
    make_image: Callable[..., StoredImage],
    quick_limits: Limits,
    first_host_id: int,
) -> None:
    image = make_image(f"{NAMES}; stat -c %u:%g /etc /etc/hosts >&2; {PASS}")
    run = ToolRun(image, TOOLS["test_runner"], "a", lambda _: None, quick_limits)
    with Sandbox(
        work / "sandbox",
        cgroup_parent=f"/{work.name}",
        first_host_id=first_host_id,
        layer_ids=LayerIds.OWNED,
    ) as sandbox:
        report = sandbox.run(run)
    assert (report.stdout, report.stderr) == (TOLD, "0:0\n0:0\n")
