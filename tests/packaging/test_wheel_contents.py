"""What is in the wheels: names, RECORD, symbol versions, licences, the bill of materials."""

from __future__ import annotations

import base64
import csv
import hashlib
import json
import re
import subprocess
import zipfile
from pathlib import Path

import pytest

from buildsteps import completions, portable, sbom, toolchain, wheels

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

INFO = f"netkat-{wheels.version()}.dist-info"
DATA = f"netkat-{wheels.version()}.data/data"


def test_wheel_name_has_the_manylinux_tag(built: dict[str, Path]) -> None:
    assert [path.name for path in built.values()] == [
        f"netkat-{wheels.version()}-py3-none-manylinux_2_17_x86_64.whl",
        f"netkat-{wheels.version()}-py3-none-manylinux_2_17_aarch64.whl",
    ]


def test_wheel_file_has_the_tag_of_its_name(wheel: Path) -> None:
    text = zipfile.ZipFile(wheel).read(f"{INFO}/WHEEL").decode()
    assert f"Tag: {wheel.stem.split('-', 2)[2]}\n" in text
    assert "Root-Is-Purelib: false\n" in text


def test_record_lists_every_file_with_its_hash(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as packed:
        names = packed.namelist()
        rows = list(csv.reader(packed.read(f"{INFO}/RECORD").decode().splitlines()))
        assert len(names) == len(set(names))
        assert sorted(row[0] for row in rows) == sorted(names)
        for name, digest, size in rows:
            if name == f"{INFO}/RECORD":
                continue
            data = packed.read(name)
            encoded = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=")
            assert (digest, int(size)) == (f"sha256={encoded.decode()}", len(data)), name


def test_library_requires_no_glibc_after_2_17(wheel: Path, tmp_path: Path) -> None:
    library = Path(zipfile.ZipFile(wheel).extract("netkat/stack/libgostack.so", tmp_path))
    output = subprocess.run(
        ["readelf", "-hW", "--version-info", library], capture_output=True, text=True, check=True
    ).stdout
    machine = "AArch64" if "aarch64" in wheel.name else "X86-64"
    assert re.search(rf"Machine:.*{machine}", output)
    found = {tuple(map(int, v.split("."))) for v in re.findall(r"GLIBC_([\d.]+)", output)}
    assert found
    assert max(found) <= portable.GLIBC
    assert wheels.audit(wheel) <= portable.GLIBC


def test_wheel_has_what_an_installation_uses(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as packed:
        names = set(packed.namelist())
        manual = packed.read(f"{DATA}/share/man/man1/netkat.1")
        scripts = {
            shell: packed.read(f"{DATA}/{path}").decode()
            for shell, path in completions.FILES.items()
        }
    assert {"netkat/bpf/guard/ingress.insns", "netkat/stack/_gostack.py"} <= names
    assert manual.startswith(b".TH NETKAT 1")
    assert all("_NETKAT_COMPLETE" in text for text in scripts.values())
    assert scripts["zsh"].startswith("#compdef netkat\n")
    assert not [name for name in names if name.endswith((".go", ".h.in", ".pyc", "gostack.h"))]


def test_bill_of_materials_and_licences_name_all_linked_code(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as packed:
        bill = json.loads(packed.read(f"{INFO}/sboms/{sbom.NAME}"))
        names = packed.namelist()
    linked = {component["name"] for component in bill["components"]}
    assert {"go", "zig", "gvisor.dev/gvisor", "golang.org/x/sys"} <= linked
    licences = {Path(name).stem for name in names if name.startswith(f"{INFO}/licenses/licenses/")}
    assert licences == {name.replace("/", "-") for name in linked}
    assert f"{INFO}/licenses/LICENSE" in names


def test_wheels_from_another_directory_are_identical(
    built: dict[str, Path], tmp_path: Path
) -> None:
    clone = tmp_path / "another" / "place"
    script = "import sys; sys.path.insert(0, '.')\nfrom buildsteps import wheels\nwheels.build()\n"
    subprocess.run(["git", "clone", "--quiet", toolchain.ROOT, clone], check=True)
    subprocess.run(["python3", "-c", script], cwd=clone, check=True)
    for path in built.values():
        assert (clone / "dist" / path.name).read_bytes() == path.read_bytes(), path.name
