"""Which files are taken for videos, by their names."""

from pathlib import PurePosixPath

VIDEO_SUFFIXES = frozenset(
    ".mp4 .m4v .mov .mkv .webm .avi .mpg .mpeg .mpe .ts .mts .m2ts .m2v .flv .f4v .wmv .asf .ogv .ogg .mxf .3gp .3g2 "
    ".h264 .264 .h265 .265 .hevc .ivf .y4m .nut .dv .rm .rmvb .vob .wtv .gif".split()
)
"""What the demuxers of gpu_kernels.media.containers read."""

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


def like_video(path: str) -> bool:
    """Whether a path ends as videos do."""
    return PurePosixPath(path).suffix.lower() in VIDEO_SUFFIXES


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
