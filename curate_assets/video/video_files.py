"""Which files are taken for videos: by their names."""

from curate_resources.declarations.units import UnitFiles

SUFFIXES = frozenset(
    ".mp4 .m4v .mov .mkv .webm .avi .mpg .mpeg .mpe .ts .mts .m2ts .m2v .flv .f4v .wmv .asf .ogv .ogg .mxf .3gp .3g2 "
    ".h264 .264 .h265 .265 .hevc .ivf .y4m .nut .dv .rm .rmvb .vob .wtv .gif".split()
)
"""What the demuxers of gpu_kernels.media.containers read."""

VIDEO_FILES = UnitFiles("video", SUFFIXES)
