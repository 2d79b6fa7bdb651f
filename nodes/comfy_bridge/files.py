"""Where the model files lie, which of them a loader offers, and fetching those that are missing.

A released file has one option, its name without folders (``unet.pth``), wherever it lies below a models folder: in the
release's own layout, flat as ComfyUI's model download leaves it, or as the ``.safetensors`` made by ``convert``, which
holds the same tensors and is taken first. So a workflow saved on one machine runs on another that has the file in
another of these forms. Other files have their path below the folder as option.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import folder_paths

from ...hunyuan_core.checkpoints import FILES, ModelFile, Source, download
from ...hunyuan_core.errors import WeightsError
from . import progress

FOLDER = "hunyuan_portrait"
"""ComfyUI's name of the pack's model folder, in ``models/`` and in ``extra_model_paths.yaml``."""

_DOWNLOAD = "download: "
_WEIGHTS = (".safetensors", ".sft", ".pth", ".pt", ".ckpt", ".bin")


@dataclass(frozen=True)
class Role:
    """A released file, and what may be chosen in its place.

    Attributes:
        file: Where it comes from.
        input: The loader's input that chooses it.
        option: What that input shows for it.
        endings: Ends of the paths by which it is recognised, in the order of preference.
        folders: Where it is looked for, by ComfyUI's names.
        open_folders: Those of them whose other files are offered too.
        suffixes: Of these other files.
    """

    file: ModelFile
    input: str
    option: str
    endings: tuple[str, ...]
    folders: tuple[str, ...] = (FOLDER,)
    open_folders: tuple[str, ...] = (FOLDER,)
    suffixes: tuple[str, ...] = _WEIGHTS

    @property
    def download_option(self) -> str:
        """What the input shows if the file is missing."""
        return f"{_DOWNLOAD}{self.option} ({_size(self.file.size)})"

    @property
    def tooltip(self) -> str:
        """What the file is, and whose licence a download accepts."""
        source = self.file.source
        text = (
            f"The file with {self.file.purpose}. {source.licence} 'download' accepts that licence and fetches the file "
            f"from huggingface.co/{source.repository} into models/{FOLDER}."
        )
        if source.is_gated:
            text += " Gated: first accept its licence on that page, then log in with `hf auth login` or set HF_TOKEN."
        return text

    def is_download(self, value: str) -> bool:
        """Whether an option asks for the download, whatever size it names."""
        return value.startswith(f"{_DOWNLOAD}{self.option} ")

    def owns(self, name: str) -> bool:
        """Whether a path below a models folder is one of the released file's."""
        return any(f"/{name}".endswith(f"/{ending}") for ending in self.endings)


def _role(name: str, **changes: object) -> Role:
    file = next(file for file in FILES if file.name == name)
    endings = tuple(accepted.rpartition("/")[2] for accepted in file.accepted_filenames)
    defaults = {"input": f"{name}_name", "option": file.filename.rpartition("/")[2], "endings": endings}
    return Role(file, **{**defaults, **changes})  # pyright: ignore[reportArgumentType]


def _dwpose_role(name: str, filename: str, size: int, purpose: str) -> Role:
    licence = "The DWPose networks of IDEA-Research, whose project is under the Apache licence 2.0."
    file = ModelFile(name, filename, Source("yzd-v/DWPose", licence), filename, size, purpose, is_network=False)
    folders = (FOLDER, "dwpose")
    return Role(file, f"{name}_name", filename, (filename,), folders, folders, (".onnx",))


UNET = _role("unet")
# Published under a name that the VAE of any model has.
_VAE_FILE = next(file for file in FILES if file.name == "vae")
VAE = _role(
    "vae",
    option="svd_xt_vae.safetensors",
    endings=(*_VAE_FILE.accepted_filenames, "svd_xt_vae.safetensors"),
    folders=(FOLDER, "vae"),
    open_folders=(FOLDER, "vae"),
)
VISION = _role("vision")
TOKEN_PROJECTION = _role("token_projection")
EXPRESSION = _role("expression")
HEAD_POSE = _role("head_pose")
REFINER = _role("refiner")
POSE_GUIDER = _role("pose_guider")
ARCFACE = _role("arcface", folders=(FOLDER, "insightface"), suffixes=(".onnx",))
# A TorchScript is a program: only the published one, known by its checksum, is ever run.
YOLOFACE = _role("yoloface", input="model_name", folders=(FOLDER, "sonic"), open_folders=())
PERSON_DETECTOR = _dwpose_role("detector", "yolox_l.onnx", 217_000_000, "DWPose's person detector")
POSE_ESTIMATOR = _dwpose_role("pose", "dw-ll_ucoco_384.onnx", 134_000_000, "DWPose's whole-body poses")

NETWORKS = (UNET, VAE, VISION, TOKEN_PROJECTION, EXPRESSION, HEAD_POSE, REFINER, POSE_GUIDER)
_ROLES = (*NETWORKS, ARCFACE, YOLOFACE, PERSON_DETECTOR, POSE_ESTIMATOR)


def register() -> None:
    """Tell ComfyUI of the models folders; those that the user registered under these names stay, and come first."""
    models = Path(folder_paths.models_dir)
    folders, _ = folder_paths.folder_names_and_paths.get(FOLDER, ([], set()))
    extensions = {*folder_paths.supported_pt_extensions, ".pt", ".onnx", ".task"}
    folder_paths.folder_names_and_paths[FOLDER] = (folders, extensions)
    for kind in {FOLDER, *(kind for role in _ROLES for kind in role.folders)}:
        folder_paths.add_model_folder_path(kind, str(models / kind))


def main_folder() -> Path:
    """The models folder that downloads go to."""
    return Path(folder_paths.get_folder_paths(FOLDER)[0])


def options(role: Role) -> list[str]:
    """What a loader offers: the released file, other files, and the download of the former if it is missing."""
    entries = _entries(role)
    released = _released(role, entries)
    others = [entry.name for entry in entries if entry.is_open and not _is_known(role, entry, released)]
    if released is None:
        return [*others, role.download_option]
    return [role.option, *others]


def find(role: Role) -> Path | None:
    """Path of the released file; None if it is in none of the folders."""
    return _released(role, _entries(role))


def resolve(role: Role, value: str) -> Path:
    """Path of the file that was chosen; fetches it first if that was chosen.

    Raises:
        WeightsError: If there is no such file, or the download fails; names the input, the folder and the remedy.
    """
    path = _chosen(role, value)
    if path is not None:
        return path
    if role.is_download(value):
        return fetch([role], role.input)[0]
    raise WeightsError(_missing(role, value))


def validate(role: Role, value: str | None) -> Literal[True] | str:
    """Check an option before anything runs.

    ComfyUI's own check would refuse a released file that is there in another form, and say no remedy.

    Args:
        value: None where it comes from another node.

    Returns:
        True, or what is wrong.
    """
    is_good = value is None or role.is_download(value) or _chosen(role, value) is not None
    return is_good or _missing(role, str(value))


def fingerprint(role: Role, value: str | None) -> str:
    """Tell whether the chosen file has changed since it was loaded.

    A download is known by its option alone, so that the run after it need not load the file again.
    """
    if value is None or role.is_download(value):
        return str(value)
    return file_state(_chosen(role, value))


def file_state(path: Path | None) -> str:
    """Path, time and size of a file; "absent" where there is none."""
    if path is None:
        return "absent"
    state = path.stat()
    return f"{path} {state.st_mtime_ns} {state.st_size}"


def fetch(roles: Sequence[Role], socket: str) -> list[Path]:
    """Download released files into the models folder; a cancelled download goes on where it stopped the next time.

    Args:
        socket: The input that asked for it.

    Returns:
        The path of each, in their order.

    Raises:
        WeightsError: If a download fails; the others are fetched nonetheless. Says why the first one did, since what
            is wrong with one is often wrong with all, and lists the others.
    """
    reports = download(_log_licence, main_folder(), files=[role.file for role in roles], on_progress=_Bytes())
    failures = [(role.option, report.message) for role, report in zip(roles, reports, strict=True) if not report.is_ok]
    if failures:
        (_, cause), *others = failures
        also = f" Not fetched either: {', '.join(name for name, _ in others)}." if others else ""
        raise WeightsError(f"{socket}: {cause}{also}")
    return [report.path for report in reports]


def find_all(roles: Sequence[Role], download_missing: bool) -> dict[str, Path]:
    """Paths of released files by name; those that are missing are fetched first if that is wanted.

    Returns:
        All of them, or without download those that are there; only optional ones may be absent.

    Raises:
        WeightsError: If a required file is missing; lists all that are missing, the folder and the remedy.
    """
    found = {role.file.name: path for role in roles if (path := find(role))}
    missing = [role for role in roles if role.file.name not in found]
    if missing and download_missing:
        return found | dict(zip((role.file.name for role in missing), fetch(missing, "download_missing"), strict=True))
    if any(role.file.is_required for role in missing):
        names = ", ".join(role.option for role in missing)
        raise WeightsError(
            f"Missing weights: {names} not found in {main_folder()}. Turn on download_missing to fetch them "
            f"({_size(sum(role.file.size for role in missing))}), or put them there; the pack's README says where "
            "from. To try the workflow without them, set weights to toy, which knows drawn faces only."
        )
    return found


def insightface_folders() -> dict[str, Path]:
    """Folders with InsightFace's networks, by their path below ``models/insightface``; ``buffalo_l`` first."""
    folders: dict[str, Path] = {}
    for entry in _walk("insightface"):
        if entry.path.suffix == ".onnx" and "/" in entry.name:
            folders.setdefault(f"{entry.name.rpartition('/')[0]}/", entry.path.parent)
    return dict(sorted(folders.items(), key=lambda item: item[1].name != "buffalo_l"))


def mediapipe_models() -> dict[str, Path]:
    """MediaPipe's ``.task`` files, by their path below the models folder; ``face_landmarker.task`` first."""
    models: dict[str, Path] = {}
    for entry in _walk(FOLDER):
        if entry.path.suffix == ".task":
            models.setdefault(entry.name, entry.path)
    return dict(sorted(models.items(), key=lambda item: item[1].name != "face_landmarker.task"))


@dataclass(frozen=True)
class _Entry:
    name: str
    """Path below its folder, with slashes."""
    path: Path
    rank: int
    """Of its folder; the first counts most."""
    is_open: bool = False
    """Whether it is offered by its own name."""


def _walk(kind: str) -> Iterator[_Entry]:
    names = folder_paths.get_filename_list(kind)
    for rank, folder in enumerate(folder_paths.get_folder_paths(kind)):
        for name in names:
            if (path := Path(folder, name)).is_file():
                yield _Entry(Path(name).as_posix(), path, rank)


def _entries(role: Role) -> list[_Entry]:
    """List the files that a role may take, each name once."""
    entries: dict[str, _Entry] = {}
    rank = 0
    for kind in role.folders:
        is_open = kind in role.open_folders
        for entry in _walk(kind):
            is_other = is_open and entry.path.suffix in role.suffixes
            if role.owns(entry.name) or is_other:
                entries.setdefault(entry.name, _Entry(entry.name, entry.path, rank + entry.rank, is_other))
        rank += len(folder_paths.get_folder_paths(kind))
    return list(entries.values())


def _released(role: Role, entries: Sequence[_Entry]) -> Path | None:
    """Choose the released file's place: in the first folder, least deep, preferred by its name."""
    places = [
        (entry.rank, entry.name.count("/") - ending.count("/"), i, entry.path)
        for entry in entries
        for i, ending in enumerate(role.endings)
        if f"/{entry.name}".endswith(f"/{ending}")
    ]
    return min(places)[-1] if places else None


def _is_known(role: Role, entry: _Entry, released: Path | None) -> bool:
    """Whether an entry is the role's own option, before or after its conversion, or another role's."""
    is_same = released is not None and entry.path.with_suffix("") == released.with_suffix("")
    return is_same or entry.name == role.option or any(other.owns(entry.name) for other in _ROLES if other != role)


def _chosen(role: Role, value: str) -> Path | None:
    """Path of what an option stands for, if it is there. Only listed files are ever opened."""
    entries = _entries(role)
    if value == role.option or role.is_download(value):
        return _released(role, entries)
    return next((entry.path for entry in entries if entry.name == value and entry.is_open), None)


def _missing(role: Role, value: str) -> str:
    folders = " or ".join(folder for kind in role.folders for folder in folder_paths.get_folder_paths(kind))
    if find(role) is not None:
        remedy = f"choose {role.option!r} or another file of the list (press R to read the folder again)"
    else:
        remedy = f"choose {role.download_option!r}, or put {role.file.filename} there and press R"
    return f"{role.input}: {value!r} was not found in {folders}; {remedy}."


def _size(num_bytes: int) -> str:
    for unit, factor in (("GB", 1e9), ("MB", 1e6)):
        if num_bytes >= factor:
            return f"{num_bytes / factor:.{0 if num_bytes >= 10 * factor else 1}f} {unit}"
    return f"{num_bytes / 1e3:.0f} kB"


def _log_licence(text: str) -> bool:
    """Accept: the user chose a download whose tooltip names the licence."""
    progress.say(text)
    return True


class _Bytes:
    """The progress bar of several downloads, one after the other."""

    def __init__(self) -> None:
        self._name = ""
        self._bar = progress.Progress(1)

    def __call__(self, name: str, done: int, total: int) -> None:
        if name != self._name:
            progress.say(f"Downloading {name} ({_size(total)}) into {main_folder()}")
            self._name, self._bar = name, progress.Progress(total)
        self._bar(done)


register()
