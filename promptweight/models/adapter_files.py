"""Files of LoRAs and textual inversions in a folder, by the names that prompts have for them."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from pathlib import Path

from promptweight.errors import SettingError
from promptweight.messages import Message, message

_SUFFIX = ".safetensors"
_PICKLES = (".pt", ".bin", ".ckpt", ".pth")
_CONVERSIONS = {
    "LoRA": "safetensors.torch.save_file(torch.load('{name}', weights_only=True), '{stem}.safetensors')",
    "textual inversion": "safetensors.torch.save_file({{'emb_params': next(iter(torch.load('{name}', "
    "weights_only=True)['string_to_param'].values())).detach()}}, '{stem}.safetensors')",
}
"""Python expressions that convert a pickle, by the noun of its content."""


class AdapterFiles:
    """The files in a folder and its subfolders.

    A name is that of a file without its suffix, in any case, or its path in the folder, as in `styles/ink`.

    Args:
        folder: the folder.
        argument: the name of the folder's argument in errors.
        noun: `LoRA` or `textual inversion`.

    Raises:
        SettingError: the folder does not exist.
    """

    def __init__(self, folder: str | os.PathLike[str], argument: str, noun: str) -> None:
        self._root, self._folder, self._noun = Path(folder).expanduser(), folder, noun
        if not self._root.is_dir():
            raise SettingError(message("folder-missing", argument=argument, folder=os.fspath(folder)))
        self._paths: dict[str, list[Path]] = {}
        self._pickles: dict[str, list[Path]] = {}
        for path in sorted(self._root.rglob("*")):
            suffix = path.suffix.casefold()
            if suffix == _SUFFIX:
                self._paths.setdefault(path.stem.casefold(), []).append(path)
            elif suffix in _PICKLES:
                self._pickles.setdefault(path.stem.casefold(), []).append(path)

    @property
    def names(self) -> list[str]:
        """Names without folders, also of the pickles, which are not read."""
        paths = [*self._paths.values(), *self._pickles.values()]
        return list(dict.fromkeys(path.stem for same in paths for path in same))

    def find(self, name: str) -> Path | None:
        """Return the file of a name; None without one.

        Raises:
            SettingError: several files have this name.
        """
        found = self._select(name, self._paths)
        if len(found) > 1:
            paths = ", ".join(self._write_path(path) for path in found)
            raise SettingError(
                message(
                    "adapter-ambiguous", noun=self._noun, name=name, folder=str(self._folder), paths=paths
                )
            )
        return found[0] if found else None

    def find_pickle(self, name: str) -> Message | None:
        """Return a message about the pickle of a name, and how to convert it; None without one."""
        found = self._select(name, self._pickles)
        if not found:
            return None
        conversion = _CONVERSIONS[self._noun].format(name=found[0].name, stem=found[0].stem)
        return message("adapter-pickle", path=found[0], conversion=conversion)

    def get(self, name: str) -> Path:
        """Return the file of a name.

        Raises:
            SettingError: there is none, with similar names, or several.
        """
        if (path := self.find(name)) is not None:
            return path
        if (pickle := self.find_pickle(name)) is not None:
            raise SettingError(pickle)
        stems = {key: paths[0].stem for key, paths in self._paths.items()}
        close = [stems[each] for each in difflib.get_close_matches(name.casefold(), stems, cutoff=0.5)]
        hint = message("adapter-none-similar", number=len(stems))
        if close:
            hint = message("adapter-similar", names=", ".join(map(repr, close)))
        raise SettingError(
            message("adapter-file-missing", noun=self._noun, name=name, folder=str(self._folder), hint=hint)
        )

    def _select(self, name: str, files: Mapping[str, list[Path]]) -> list[Path]:
        """Return the files of a name or path."""
        folders, slash, stem = name.casefold().replace("\\", "/").rpartition("/")
        for suffix in (_SUFFIX, *_PICKLES):
            if stem.endswith(suffix) and stem not in files:
                stem = stem.removesuffix(suffix)
        same = files.get(stem, [])
        if not slash:
            return list(same)
        wanted = [part for part in folders.split("/") if part not in ("", ".")]
        parents = {path: self._parents(path) for path in same}
        exact = [path for path in same if parents[path] == wanted]
        return exact or [path for path in same if wanted and parents[path][-len(wanted) :] == wanted]

    def _parents(self, path: Path) -> list[str]:
        return [part.casefold() for part in path.relative_to(self._root).parts[:-1]]

    def _write_path(self, path: Path) -> str:
        """Return the path of a file as a prompt has it."""
        relative = path.relative_to(self._root).with_suffix("").as_posix()
        return relative if "/" in relative else f"./{relative}"
