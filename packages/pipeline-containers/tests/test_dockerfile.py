"""Dockerfiles, read as the reference parser reads them, and written for a builder."""

import contextlib
import json
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.pace import paced

from pipeline_containers.building.buildah import image_policy
from pipeline_containers.building.dockerfile import dialect, modes
from pipeline_containers.building.dockerfile.mounts import TMPFS_BYTES, read_mount
from pipeline_containers.building.dockerfile.parser import (
    INSTRUCTIONS,
    MOST,
    DockerfileError,
    Instruction,
    parse,
)
from pipeline_containers.building.dockerfile.plan import plan
from pipeline_containers.building.dockerfile.words import (
    heredoc_starts,
    join_flag,
    shell_words,
    split_flags,
)

OLD = dialect.buildah("buildah version 1.28.2 (image-spec 1.1.0-rc2, runtime-spec 1.0.2-dev)")
NEW = dialect.buildah("buildah version 1.44.0 (image-spec 1.1.1, runtime-spec 1.3.0)")


def said(text: str) -> list[tuple[str, tuple[str, ...], str]]:
    return [(it.keyword, it.flags, it.rest) for it in parse(text).instructions]


def written(text: str, builder: dialect.Dialect = OLD) -> list[str]:
    return [line for line in plan(text, builder).text.split("\n") if line]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("FROM a\n# a comment\n\n  run  x  y ", [("FROM", (), "a"), ("RUN", (), "x  y")]),
        ("RUN a \\\n  b\\\nc", [("RUN", (), "a   bc")]),
        ("RUN a \\ \t\n# between\n  # and indented\n\n b", [("RUN", (), "a  b")]),
        ("RUN a \\\\\nRUN b", [("RUN", (), "a \\\\"), ("RUN", (), "b")]),
        ("R\\\nUN --mo\\\nunt=x y", [("RUN", ("--mount=x",), "y")]),
        ("# escape=`\nRUN a `\n b\\\nRUN c", [("RUN", (), "a  b\\"), ("RUN", (), "c")]),
        ("# a comment\n# escape=`\nRUN a \\\n b", [("RUN", (), "a  b")]),
        ("\ufeffFROM a\r\nRUN b \\\r\n c\r\n", [("FROM", (), "a"), ("RUN", (), "b  c")]),
        ("RUN a \\", [("RUN", (), "a")]),
        ("\\\nRUN a", [("RUN", (), "a")]),
        ("#!/usr/bin/env x\nFROM a", [("FROM", (), "a")]),
    ],
)
def test_lines_that_go_on(text: str, found: list[tuple[str, tuple[str, ...], str]]) -> None:
    assert said(text) == found


@pytest.mark.parametrize(
    ("text", "flags", "rest"),
    [
        ("--a=b c --d", ["--a=b"], "c --d"),
        ("--a=\"b c\" '--x' d", ["--a=b c"], "'--x' d"),
        ("--a=b\\ c d", ["--a=b c"], "d"),
        ("--m\"\"ount=x 'y' --z", ["--mount=x"], "'y' --z"),
        ("--m\\ount=x y", ["--mount=x"], "y"),
        ("--a -- --b", ["--a"], "--b"),
        ("--a", ["--a"], ""),
        ("a --mount=b", [], "a --mount=b"),
        ('"--mount=b"', [], '"--mount=b"'),
    ],
)
def test_flags(text: str, flags: list[str], rest: str) -> None:
    assert split_flags(text) == (flags, rest)


@given(st.lists(st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=9)), st.text())
def test_flags_are_read_as_they_were_written(names: list[str], rest: str) -> None:
    flags = [f"--x{name}" for name in names]
    rest = rest.strip()
    joined = " ".join([*map(join_flag, flags), "--", rest])
    assert split_flags(joined) == (flags, rest)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("cat <<EOF", ["EOF"]),
        ("cat <<A 3<<-B >x", ["A", "B"]),
        ("cat <<'E' <<\"F\" <<\\G", ["E", "F", "G"]),
        ("cat<<EOF", []),
        ("cat <<<EOF", []),
        ("cat << EOF", []),
        ("echo $((1 <<2))", ["2))"]),
        ("echo '<<EOF' \"<<EOF\" \\<<EOF", []),
        ("echo it's <<EOF", []),
        ("echo ${X:- <<EOF } <<B", ["B"]),
        ('["cat", "<<EOF"]', []),
    ],
)
def test_heredocs_are_words_of_their_own(text: str, found: list[str]) -> None:
    if "2))" in found:
        with pytest.raises(ValueError, match="no name for one"):
            heredoc_starts(text)
    else:
        assert [start.name for start in heredoc_starts(text)] == found


def test_a_heredoc_has_all_up_to_its_name() -> None:
    text = "RUN cat <<A <<-'B'\n# no comment\\\nRUN x\n A\nA\n\ttab\n\tB\nRUN y"
    first, second = parse(text).instructions
    one, two = first.heredocs
    assert (one.content, two.content) == ("# no comment\\\nRUN x\n A\n", "\ttab\n")
    assert (one.start.expand, two.start.expand) == (True, False)
    assert (second.line, second.rest) == (8, "y")


@given(
    st.lists(
        st.tuples(
            st.sampled_from(sorted(INSTRUCTIONS - {"ONBUILD", "RUN", "COPY", "ADD"})),
            st.text(st.characters(codec="utf-8", exclude_characters="\0\n\r\\"), max_size=30),
        )
    )
)
def test_instructions_are_read_as_they_were_written(wanted: list[tuple[str, str]]) -> None:
    text = "\n".join(f"{keyword} -- {rest}" for keyword, rest in wanted)
    assert said(text) == [(keyword, (), rest.strip()) for keyword, rest in wanted]


@given(st.text("RUN COPY\n\\<<EOF'\"-mount=[]#$ \t`ab", max_size=200))
def test_what_is_written_is_what_was_understood(text: str) -> None:
    """However a text is made, a builder is given known instructions with known flags."""
    try:
        planned = plan(text, OLD)
    except DockerfileError:
        return
    again = parse(planned.text)
    assert plan(planned.text, OLD, allow_mounts=True).text == planned.text
    for instruction in again.instructions:
        assert not instruction.heredocs
        assert all(flag.startswith(("--from=", "--mount=")) for flag in instruction.flags)


@given(st.text(st.characters(exclude_characters="\0\r", codec="utf-8"), max_size=300))
def test_a_script_reaches_the_shell_as_it_is(script: str) -> None:
    lines = script.split("\n")
    if "EOF" in lines or script.startswith("#!"):
        return
    (line,) = written(f"RUN <<'EOF'\n{script}\nEOF\n")
    assert json.loads(line.removeprefix("RUN ")) == ["/bin/sh", "-c", f"{script}\n"]


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("# syntax=docker/dockerfile:1\nFROM a", ["FROM a"]),
        ("#syntax = docker.io/docker/dockerfile:1.7-labs\nFROM a", ["FROM a"]),
        ("# check=skip=all\nFROM a", ["FROM a"]),
        ("COPY --link a b", ["COPY a b"]),
        ("COPY --link=false --chown=1 a b", ["COPY --chown=1 a b"]),
        ("COPY --chmod=0755 a b", ["COPY --chmod=0755 a b"]),
        ("COPY --chmod=$MODE a b", ["COPY --chmod=$MODE a b"]),
        ("COPY --chmod=+x a b", ["COPY --chmod=755 a b"]),
        ("COPY --chmod=u=rwX,go=rX a b", ["COPY a b"]),
        ("COPY --from=x --chmod=a=rx a b", ["COPY --from=x --chmod=555 a b"]),
        ("RUN --network=default x", ["RUN x"]),
        ("RUN echo a\\\\", ['RUN ["/bin/sh", "-c", "echo a\\\\\\\\"]']),
        ("RUN -- --mount=type=bind", ["RUN -- --mount=type=bind"]),
        ('RUN echo "--mount=type=bind"', ['RUN echo "--mount=type=bind"']),
        ("RUN apt-get install mount", ["RUN apt-get install mount"]),
        ('SHELL ["b", "-c"]\nRUN x', ['RUN ["b", "-c", "x"]']),
        ('SHELL ["b", "-c"]\nRUN ["x"]', ['RUN ["x"]']),
        ('SHELL ["b"]\nCMD x\nENTRYPOINT y', ['CMD ["b", "x"]', 'ENTRYPOINT ["b", "y"]']),
        (
            'FROM a AS b\nSHELL ["s"]\nFROM c\nRUN x\nFROM B\nRUN y',
            ["FROM a AS b", "FROM c", "RUN x", "FROM B", 'RUN ["s", "y"]'],
        ),
        ("ONBUILD COPY --link a b", ["ONBUILD COPY a b"]),
        ("HEALTHCHECK --interval=5s CMD x", ["HEALTHCHECK --interval=5s CMD x"]),
    ],
)  # fmt: skip
def test_what_a_builder_of_yesterday_gets(text: str, lines: list[str]) -> None:
    assert written(text) == lines


def test_instructions_stay_in_their_lines() -> None:
    text = "# syntax=docker/dockerfile:1\n\nFROM a\n# x\nRUN b \\\n  c\nRUN <<E\nx\nE\nCMD d\n"
    lines = plan(text, OLD).text.split("\n")
    assert [lines.index(line) + 1 for line in lines if line] == [3, 5, 7, 10]


@pytest.mark.parametrize("escape", ["\\", "`"])
def test_long_lines_are_folded_where_nothing_is_lost(escape: str) -> None:
    command = "echo " + " ".join(f"#word{number}" for number in range(9_000))
    text = f"# escape={escape}\nFROM a\nRUN {command}\n"
    planned = plan(text, OLD).text
    assert max(map(len, planned.split("\n"))) < 16_000
    assert said(planned) == [("FROM", (), "a"), ("RUN", (), command)]
    with pytest.raises(DockerfileError, match="without a word"):
        plan(f"RUN {'#' * 70_000}", OLD)


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("# syntax=a/b\nFROM a", 1, "asks for a foreign front end"),
        ("\ufeff# escape=`\n#Syntax = docker/dockerfile-x:1\nFROM a", 2, "foreign front end"),
        ("# syntax=docker/dockerfile:1@evil.example/x\nFROM a", 1, "foreign front end"),
        ("FROM a\nRUN --mount=type=bind,target=/b id", 2, "asks for RUN --mount=type=bind"),
        ("FROM a\n\nrun \\\n --mo\\\n# x\nunt=source=a,target=/b id", 3, "--mount=type=bind"),
        ("RUN --network=none --m\"\"ount=type=secret,id=a id", 1, "--mount=type=secret"),
        ("RUN --mount=type=ssh id", 1, "--mount=type=ssh"),
        ("RUN --mount=type=$T,target=/b id", 1, "--mount=type="),
        ("RUN --mount=type=cache,target=/b,from=x id", 1, "with from="),
        ("RUN --mount=type=cache,target=/b,source=x id", 1, "with source="),
        ("RUN --mount=type=cache,target=$HOME/x id", 1, "variables are not read"),
        ("RUN --mount=type=cache,target=x id", 1, "write a folder from /"),
        ("RUN --mount=type=cache,target=/a/../b id", 1, "write a folder from /"),
        ("RUN --mount=type=cache,target=/a,Z id", 1, "does not know 'z'"),
        ("RUN --mount=type=tmpfs,target=/a,size=x id", 1, "takes a size"),
        ("RUN --mount=type=cache,target=/a,uid=0x0 id", 1, "takes a number"),
        ("RUN --mount=type=cache,target=/a,mode=u+x id", 1, "octal"),
        ("ONBUILD RUN --mount=type=bind id", 1, "--mount=type=bind"),
        ("RUN --network=host id", 1, "RUN --network=host"),
        ("RUN --security=insecure id", 1, "RUN --security=insecure"),
        ("RUN --device=x id", 1, "does not know --device"),
        ("RUN --$X id", 1, "does not know"),
        ("FROM a\nCOPY --exclude=x a b", 2, "needs buildah 1.38"),
        ("COPY --chmod=u+x a b", 1, "different modes"),
        ("COPY --from=x --chmod=+x a b", 1, "different modes"),
        ("NONSENSE", 1, "'NONSENSE' is not an instruction"),
        ("FROM a\nENV --x=y", 2, "ENV does not know --x"),
        ("FROM a\nRUN <<EOF\nx", 2, "EOF has no end"),
        ("COPY <<EOF /a\n$X\nEOF", 1, "write <<'EOF'"),
        ("COPY <<EOF <<B /a\nEOF\nB", 1, "has to end in /"),
        ("COPY a <<EOF\nEOF", 1, "no place"),
        ("ONBUILD COPY <<EOF /a\nEOF", 1, "ONBUILD has a heredoc"),
        ("ONBUILD ONBUILD RUN x", 1, "ONBUILD takes"),
        ("ONBUILD", 1, "ONBUILD takes"),
        ("SHELL bash -c", 1, "SHELL takes a list"),
        ("RUN --mount=\u00e0 x", 1, "beyond ASCII"),
        ("FROM a\nRUN echo \udce4", 2, "not UTF-8"),
        ("ENV a b\\\\", 1, "ends in"),
        ("# escape=x\nFROM a", 1, "escape is"),
    ],
)  # fmt: skip
def test_what_is_refused_with_its_line(text: str, line: int, reason: str) -> None:
    with pytest.raises(DockerfileError, match=f"^line {line}: ") as caught:
        plan(text, OLD)
    assert reason in str(caught.value)


def test_an_image_of_too_many_layers_is_refused_before_it_is_built() -> None:
    steps = "RUN x\n" * 126 + "COPY a b\n"
    assert len(written(f"FROM a\n{steps}")) == 128
    assert len(written(f"FROM a AS b\n{steps}FROM b\nCMD x\n")) == 130
    assert len(written(f"FROM a AS b\n{steps}FROM scratch\n{steps}")) == 256
    for more in ("RUN y", "FROM b\nADD a b"):
        with pytest.raises(DockerfileError, match=r"^line 1(29|30): .* more than 128 layers"):
            plan(f"FROM a AS b\n{steps}{more}\n", OLD)


def test_what_a_newer_builder_knows_it_gets() -> None:
    text = "COPY --parents --exclude=x a b\nADD --checksum=sha256:00 https://x.test/ /"
    assert written(text, NEW) == text.split("\n")
    with pytest.raises(DockerfileError, match=r"--parents needs buildah 1\.40"):
        plan(text, OLD)


def test_what_only_one_builder_can_is_said() -> None:
    assert written("RUN <<A\nx\nA", dialect.IMG) == ['RUN ["/bin/sh", "-c", "x\\n"]']
    for text in ("COPY <<A /x\nA", "RUN <<A\n#!/bin/x\nA", "RUN --network=none x"):
        with pytest.raises(DockerfileError, match="use buildah"):
            plan(text, dialect.IMG)
    mount = "RUN --mount=type=tmpfs,target=/x id"
    assert written(mount, dialect.IMG) == [mount]


def test_mounts_are_written_anew() -> None:
    cache = read_mount("type=cache,dst=/a,id=../../x,sharing=private,uid=1,mode=0700,ro")
    assert "../" not in cache.flag()
    assert cache.flag().startswith("--mount=type=cache,target=/a,id=")
    assert cache.flag().endswith(",mode=0700,uid=1,ro")
    assert read_mount("type=cache,target=/a").flag() == read_mount("target=/a,type=CACHE").flag()
    assert not read_mount("type=cache,target=/a,ro=false").read_only
    assert read_mount("type=tmpfs,target=/a,size=64m").size == 64 << 20
    for size in ("0", "1t", "900g", ""):
        if size == "1t":
            with pytest.raises(ValueError, match="size"):
                read_mount(f"type=tmpfs,target=/a,size={size}")
        else:
            assert read_mount(f"type=tmpfs,target=/a,size={size}").size == TMPFS_BYTES


@pytest.mark.parametrize("text", ["+x", "a=rX", "u=rwX,go=rX", "u-w+x,o=", "go-rwx", "=r", "ug+w"])
def test_modes_in_letters_are_those_of_chmod(tmp_path: Path, text: str) -> None:
    for mode, is_folder in (*modes.CHECKOUT, (0o600, False), (0o111, False), (0o700, True)):
        place = tmp_path / "place"
        place.mkdir() if is_folder else place.touch()
        place.chmod(mode)
        # each class named, or chmod heeds the umask
        spelled = ",".join(f"a{one}" if one[0] in "+-=" else one for one in text.split(","))
        subprocess.run(["chmod", spelled, str(place)], check=True)
        assert modes.apply_mode(text, mode, is_folder=is_folder) == place.stat().st_mode & 0o777
        place.rmdir() if is_folder else place.unlink()


@pytest.mark.parametrize("words", [["a", "b'c d'", '"e f"', "${x y}", "g\\ h"], []])
def test_words_of_a_shell(words: Sequence[str]) -> None:
    assert shell_words(" ".join(words)) == list(words)
    assert shell_words("a 'b") == []
    assert shell_words("a ${b") == []


@pytest.mark.parametrize(
    "text",
    [
        f"# syntax=a{' ' * 900_000}b\nFROM a",
        f"FROM a\nRUN echo <<A {'${' * 400_000}",
        f"FROM a\nRUN echo <<A {'${a:-' * 100_000}{'}' * 100_000}",
        "FROM a\nCOPY --from=b --chmod=a=r c d\n" * 25_000,
        f"COPY {''.join(f'<<A{n} ' for n in range(60_000))} /\n" + "A\n",
        f"RUN {'[' * 900_000}",
        f"FROM a\nCOPY --chmod={'u+r' * 300_000}! a b",
        "FROM a\nRUN a \\\n" + "b\\\n" * 200_000,
    ],
    ids=range(8),
)
def test_no_text_takes_long(text: str) -> None:
    began = time.process_time()
    with contextlib.suppress(DockerfileError):
        plan(text, OLD)
    assert time.process_time() - began < paced(5)


def test_instructions_are_counted() -> None:
    assert len(parse("USER a\n" * MOST).instructions) == MOST
    for text in ("USER a\n" * (MOST + 1), "RUN x <<A\nA\n" * (MOST // 2 + 1)):
        with pytest.raises(DockerfileError, match="more than 2000"):
            parse(text)


@given(st.from_regex(r"[ugoa]{0,2}([-+=][rwxX]{0,2}){1,2}(,[ugoa][-+=][rwxX]?)?", fullmatch=True))
def test_a_few_modes_tell_for_all(text: str) -> None:
    every = [(mode, folder) for mode in range(0o1000) for folder in (False, True)]
    assert modes.one_mode(text, modes.ANY) == modes.one_mode(text, every)


def test_an_onbuild_holds_an_instruction() -> None:
    (found,) = parse("ONBUILD RUN --a=b c").instructions
    assert found.trigger == Instruction(1, "RUN", ("--a=b",), "c")


def test_images_come_from_registries_and_the_own_store() -> None:
    policy = image_policy("/store")
    assert policy["default"] == [{"type": "reject"}]
    assert list(policy["transports"]) == ["docker", "containers-storage"]
    assert list(policy["transports"]["containers-storage"]) == ["[overlay@/store]"]
