"""What `curate calibrate --labels` does: ask about clips, take labels from files, and tell what follows from them."""

import sys
import webbrowser
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curate_cli.command import OK
from curate_cli.printing import escaped, messages, print_document, results

if TYPE_CHECKING:
    from curate_assets.video.labelling.labelling import LabelledThreshold, Labelling
    from curate_resources.storage.root import Storage

_LISTED = ("clip_id", "label", "uri", "start_seconds", "end_seconds")


@dataclass(frozen=True)
class LabelOptions:
    """How labels are asked for, taken and given.

    Attributes:
        listed: how many clips to list, to be labelled elsewhere.
        answers: a file of labels to take.
        export: a file to write all labels to.
        ask: whether to ask on a page.
    """

    listed: int | None
    answers: Path | None
    export: str | None
    ask: bool
    port: int
    show: bool
    as_json: bool


def label(labelling: "Labelling", storage: "Storage", options: LabelOptions, path: str | None) -> int:
    """Do what the options say.

    Args:
        path: the file of settings that the threshold is written to; None: it is only told.
    """
    from curate_assets.settings.edit import write_settings
    from curate_assets.video.calibration import SECTION
    from gpu_kernels.errors import UserError

    if options.answers is not None:
        _take(labelling, options.answers)
    if options.listed is not None:
        if path is not None:
            raise UserError("--next only lists clips: leave out --write")
        _list(labelling, options.listed, options.as_json)
        return OK
    if options.ask and options.answers is None and options.export is None:
        _ask(labelling, options)
    if options.export is not None:
        _export(labelling, options.export)
    result = labelling.result()
    if path is not None and result.found is None:
        raise UserError(f"there are no labels for {result.setting} yet: nothing can be written")
    if path is not None and result.found is not None and not result.found.some_to_keep:
        raise UserError(f"no clip is labelled keep, so no {result.setting} is better than another: nothing is written")
    written = None
    if path is not None and result.found is not None:
        written = write_settings(storage, SECTION, {result.setting: result.found.threshold}, path)
    if options.as_json:
        print_document({**asdict(result), "confidence": labelling.goals.confidence, "written": written})
    else:
        _print_result(result, labelling.goals.confidence, written)
    return OK


def _take(labelling: "Labelling", path: Path) -> None:
    from curate_assets.video.labelling.label_files import read_labels
    from gpu_kernels.errors import UserError

    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"--answers {path} cannot be read: {error.strerror}") from error
    labelling.say(read_labels(str(path), data))


def _list(labelling: "Labelling", count: int, as_json: bool) -> None:
    from curate_assets.video.labelling.label_files import written_rows
    from curate_assets.video.labelling.labelling import IN_FILE

    clips = [labelling.clip(each, pictures=False) for each in labelling.ask(count, IN_FILE)]
    if not clips:
        messages().print("No clips are left to label: all are labelled, or with somebody who is labelling them.")
    values = [(each.clip_id, "", each.uri, each.start_seconds, each.end_seconds) for each in clips]
    rows: list[dict[str, Any]] = [dict(zip(_LISTED, each, strict=True)) for each in values]
    if as_json:
        print_document(rows)
    else:
        sys.stdout.write(written_rows("clips.csv", rows, _LISTED).decode())


def _export(labelling: "Labelling", uri: str) -> None:
    from curate_assets.video.labelling.label_files import written_rows
    from curate_assets.video.labelling.labelling import EXPORTED
    from curate_resources.storage.root import file_writer

    with file_writer(uri) as file:
        file.write(written_rows(uri, labelling.exported(), EXPORTED))
    messages().print(f"labels are in {escaped(uri)}", soft_wrap=True)


def _ask(labelling: "Labelling", options: LabelOptions) -> None:
    from curate_cli.label_server import LabelServer
    from curate_resources.engines import interruption

    interruption.expect()
    server = LabelServer(labelling, options.port)
    with server.serving():
        messages().print(f"[bold]{server.url}[/bold] asks about clips; Finish or Ctrl-C ends it", soft_wrap=True)
        if options.show:
            webbrowser.open(server.url)
        try:
            while not server.finished.wait(1):
                pass
        except KeyboardInterrupt:
            pass
    if server.failed is not None:
        raise server.failed


def _labels(count: int) -> str:
    return f"{count:,} {'label' if count == 1 else 'labels'}"


def _print_result(result: "LabelledThreshold", confidence: float, written: str | None) -> None:
    console = results()
    if (found := result.found) is None:
        console.print(f"There are no labels for {result.setting} yet.")
    else:
        now, then = ("off" if each is None else f"{each:.4g}" for each in (result.current, found.threshold))
        console.print(f"{result.setting}: [bold]{then}[/bold] (now {now}), by {_labels(found.labels)}")
        console.print(f"keeps {found.kept:.1%} of {result.clips:,} clips")
        for name, each in (("precision", found.precision), ("recall", found.recall)):
            console.print(f"{name} {each.value:.1%}, at {confidence:.0%} confidence {each.low:.1%} to {each.high:.1%}")
        if not found.some_to_keep:
            console.print("No clip is labelled keep, so no threshold is better than another.")
        if not found.enough:
            console.print("These labels are not enough for the goals yet.")
    for count, said in (
        (result.unsure, "labelled unsure, which does not count"),
        (result.not_drawn, "labelled though nobody was asked, which does not count"),
        (result.unknown, "labelled that this root does not have, or not any more"),
        (result.disputed, "on which people disagree: the last label counts"),
    ):
        if count:
            console.print(f"{count:,} {'clip' if count == 1 else 'clips'} {said}")
    if written:
        console.print(f"written to {escaped(written)}", soft_wrap=True)
        console.print("Next: [bold]curate materialize --select clip_selection+[/bold]")
    elif found is not None:
        console.print("Nothing was set: [bold]--write[/bold] does it.")
