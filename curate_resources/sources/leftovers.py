"""What other programs leave in folders, unfinished or for themselves, by its name."""

_LEFTOVER_PREFIXES = ("._", ".~", "~$", ".fuse_hidden", ".nfs", ".goutputstream-")
"""AppleDouble files of macOS, locks of office programs, files that were removed while they were open."""
_LEFTOVER_SUFFIXES = (
    "~ .part .partial .crdownload .download .opdownload .filepart .tmp .temp .aria2 .ytdl .!ut .!qb .swp".split()
)
_LEFTOVER_NAMES = frozenset((".ds_store", "thumbs.db", "ehthumbs.db", "desktop.ini"))
_LEFTOVER_FOLDERS = frozenset(
    "@eadir #recycle #snapshot @recycle @recently-snapshot .@__thumb .snapshot .snapshots .zfs .trash .trashes "
    "$recycle.bin recycler __macosx .appledouble .spotlight-v100 .fseventsd .temporaryitems .documentrevisions-v100 "
    ".thumbnails .ipynb_checkpoints .git .svn .stversions .stfolder .~tmp~ .rsync-partial .dropbox.cache".split()
)


def is_leftover(path: str) -> bool:
    """Whether a path below a source is of a file that another program left there, unfinished or for itself."""
    *folders, name = path.lower().split("/")
    return (
        name in _LEFTOVER_NAMES
        or name.startswith(_LEFTOVER_PREFIXES)
        or name.endswith(tuple(_LEFTOVER_SUFFIXES))
        or any(map(is_leftover_folder, folders))
    )


def is_leftover_folder(name: str) -> bool:
    """Whether a folder's name says that it is a bin, or another program's own."""
    name = name.lower()
    return name in _LEFTOVER_FOLDERS or name == "system volume information" or name.startswith(".trash-")
