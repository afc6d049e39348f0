import bz2
import gzip
import io
import lzma
import tarfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_images import png, write_tar

from distilnas.data.archives import TarIndex, read_tars, tar_members
from distilnas.data.readers import unpacked
from distilnas.errors import UsageError


def _contents(tar: Path) -> dict[str, bytes]:
    data = tar.read_bytes()
    return {member.name: data[member.offset : member.offset + member.length] for member in tar_members(tar)}


names = st.lists(
    st.text("ab/.é-", min_size=1, max_size=200).filter(lambda n: not n.endswith(("/", ".tar"))), unique=True
)


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@given(names, st.data())
@settings(max_examples=25, deadline=None)
def test_members_are_where_tarfile_reads_them(form: int, names: list[str], data: st.DataObject) -> None:
    files = {name: data.draw(st.binary(max_size=1500)) for name in names}
    buffer = io.BytesIO()
    kept = {}
    with tarfile.open(fileobj=buffer, mode="w:", format=form) as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            try:
                archive.addfile(info, io.BytesIO(content))
            except ValueError:  # too long a name for the oldest form
                continue
            kept[info.name] = content
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        tar = Path(folder, "x.tar")
        tar.write_bytes(buffer.getvalue())
        with tarfile.open(tar) as archive:
            expected = [(info.name, archive.extractfile(info).read()) for info in archive]  # type: ignore[union-attr]
        assert [(member.name, member.length) for member in tar_members(tar)] == [(n, len(c)) for n, c in expected]
        assert _contents(tar) == dict(expected)
        assert len(expected) == len(kept)


def test_tars_inside_are_folders(tmp_path: Path) -> None:
    inner = [
        write_tar(tmp_path / name, {"1.png": png(k), "2.png": png(k + 1)}) for k, name in enumerate(("a.tar", "b.tar"))
    ]
    outer = write_tar(tmp_path / "all.tar", {file.name: file.read_bytes() for file in inner} | {"x.txt": b"x"})
    expected = {"a/1.png": png(0), "a/2.png": png(1), "b/1.png": png(1), "b/2.png": png(2), "x.txt": b"x"}
    assert _contents(outer) == expected


def test_links_and_folders_are_left_out(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "x.tar", "w:") as archive:
        for kind in (tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE):
            info = tarfile.TarInfo(f"of kind {kind!r}")
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info)
    assert tar_members(tmp_path / "x.tar") == []


@pytest.mark.parametrize(
    ("method", "compress"), [("gzip", gzip.compress), ("bzip2", bz2.compress), ("xz", lzma.compress)]
)
def test_compressed_tars_are_refused(tmp_path: Path, method: str, compress) -> None:
    tar = write_tar(tmp_path / "x.tar", {"a.png": png(0)})
    tar.write_bytes(compress(tar.read_bytes()))
    with pytest.raises(UsageError, match=rf"x\.tar is compressed with {method}\. Decompress it once"):
        tar_members(tar)


def test_damaged_tars_are_refused(tmp_path: Path) -> None:
    tar = write_tar(tmp_path / "x.tar", {f"{k}.png": png(k) for k in range(4)})
    whole = tar.read_bytes()
    third = tar_members(tar)[2].offset
    for damaged, message in [
        (whole[: third + 10], "unexpected end of data"),  # cut off within an image
        (whole[: third - 100], "damaged"),  # within a header
        (whole[: third - 400] + b"?" + whole[third - 399 :], f"header at byte {third - 512} is damaged"),
        (b"no tar" * 200, "complete tar file"),
        (b"", "complete tar file"),
    ]:
        tar.write_bytes(damaged)
        with pytest.raises(UsageError, match=message):
            tar_members(tar)
    with pytest.raises(UsageError, match=r"must be a complete tar file, but cannot be read: .*No such file"):
        tar_members(tmp_path / "nowhere.tar")


def test_an_index_is_kept_until_the_tar_changes(tmp_path: Path, cache_home: Path) -> None:
    tar, asked = write_tar(tmp_path / "x.tar", {"a.png": png(0)}), []

    def index(path: Path) -> TarIndex:
        asked.append(path)
        members = tar_members(path)
        return TarIndex.of(members, ["label"] * len(members))

    def labels_and_names(kind: str = "one") -> tuple[list[str], list[str]]:
        reader, labels = read_tars([tar], kind, index)
        assert [reader.open(i).size for i in range(len(reader))] == [(6, 6)] * len(reader)
        return [unpacked(label) for label in labels], [reader.name_of(i) for i in range(len(reader))]

    assert labels_and_names() == labels_and_names() == (["label"], ["x.tar/a.png"])
    assert len(asked) == 1
    labels_and_names("other")  # another meaning of the labels
    assert len(asked) == 2
    write_tar(tar, {"b.png": png(1), "c.png": png(2)})
    assert labels_and_names() == (["label"] * 2, ["x.tar/b.png", "x.tar/c.png"])
    for kept in cache_home.rglob("*.npz"):
        kept.write_bytes(kept.read_bytes()[:-40])
    assert labels_and_names()[1] == ["x.tar/b.png", "x.tar/c.png"]
    assert len(asked) == 4


def test_without_a_place_for_the_index_nothing_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tar = write_tar(tmp_path / "x.tar", {"a.png": png(0)})
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    reader, _ = read_tars([tar], "kind", lambda path: TarIndex.of(tar_members(path), ["x"]))
    assert reader.open(0).size == (6, 6)
    with pytest.raises(UsageError, match=r"must exist, got .*nowhere\.tar"):
        read_tars([tmp_path / "nowhere.tar"], "kind", lambda path: TarIndex.of([], []))
