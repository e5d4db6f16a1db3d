"""What videos are decoded and clips are encoded with: the FFmpeg libraries that PyAV brings."""

from curate_assets.doctor.check import Check, Deployment, Finding, failed, ok, warning
from curate_assets.doctor.installation import left_to_workers

_ENCODERS = ("libx264", "aac")
_DECODERS = {"H.264": ("h264",), "HEVC": ("hevc",), "VP9": ("vp9", "libvpx-vp9"), "AV1": ("libdav1d", "av1")}
_INSTALL = "install PyAV from PyPI (`pip install --force-reinstall av`), whose wheels bring all codecs"


def codecs(deployment: Deployment) -> Finding:
    """Whether clips can be encoded, and the usual videos decoded."""
    if left_to_workers("av", deployment):
        return ok("PyAV is not installed here: the pods of the cluster decode and encode")
    import av

    if lacking := [name for name in _ENCODERS if not _has(name, "w")]:
        return failed(f"PyAV {av.__version__} has no encoder {', '.join(lacking)}: no clip can be encoded", _INSTALL)
    lacking = [name for name, any_of in _DECODERS.items() if not any(_has(each, "r") for each in any_of)]
    if lacking:
        return warning(f"PyAV {av.__version__} has no decoder for {', '.join(lacking)}: such videos fail", _INSTALL)
    return ok(f"PyAV {av.__version__} with {', '.join(_ENCODERS)} and decoders for {', '.join(_DECODERS)}")


def _has(codec: str, mode: str) -> bool:
    import av.codec
    import av.codec.codec

    try:
        return bool(av.codec.Codec(codec, "w" if mode == "w" else "r"))
    except av.codec.codec.UnknownCodecError:
        return False


CHECKS = (Check("codecs", codecs, _INSTALL),)
