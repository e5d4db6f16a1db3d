"""The settings of Dagster for a platform: examples/platform/dagster.yaml."""

from pathlib import Path

import dagster as dg
import yaml
from dagster._core.storage.compute_log_manager import ComputeIOType

SETTINGS = yaml.safe_load((Path(__file__).resolve().parents[2] / "examples" / "platform" / "dagster.yaml").read_text())


def test_what_a_step_prints_is_read_on_another_machine(s3, tmp_path, monkeypatch):
    monkeypatch.setenv("CURATE_LOGS_BUCKET", s3.bucket("step-logs").removeprefix("s3://"))
    homes: list[Path] = []
    for machine in ("of-the-run", "of-the-web-server"):
        home = tmp_path / machine
        home.mkdir()
        written = {"compute_logs": SETTINGS["compute_logs"], "telemetry": SETTINGS["telemetry"]}
        written["compute_logs"]["config"]["local_dir"] = str(home)  # two machines share no folder
        (home / "dagster.yaml").write_text(yaml.safe_dump(written))
        homes.append(home)

    @dg.asset
    def greeting() -> None:
        print("hello from the step", flush=True)

    with dg.DagsterInstance.from_config(str(homes[0])) as instance:
        run = dg.materialize([greeting], instance=instance).dagster_run
        (event,) = [
            record
            for record in instance.all_logs(run.run_id)
            if record.dagster_event_type == dg.DagsterEventType.LOGS_CAPTURED
        ]
        assert event.dagster_event is not None
        key = event.dagster_event.logs_captured_data.file_key
        log_key = instance.compute_log_manager.build_log_key_for_run(run.run_id, key)
    with dg.DagsterInstance.from_config(str(homes[1])) as instance:
        data, _ = instance.compute_log_manager.get_log_data_for_type(log_key, ComputeIOType.STDOUT, 0, None)
    assert data is not None and b"hello from the step" in data
