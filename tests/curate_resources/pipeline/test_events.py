"""Events tell what a run did: in this process, and over the line by which a job's driver prints them."""

import json
import logging

from curate_resources.engines.in_process import InProcessEngine
from curate_resources.launchers.jobs import print_event, relay
from curate_resources.pipeline.events import Committed, PoolState, StageCall, UnitDone, emit, listening
from curate_resources.pipeline.run import materialize


def test_events_of_a_run_have_what_each_stage_did_and_every_commit(plan):
    told = []
    with listening(told.append):
        done = list(materialize(plan, ["a-000000"], InProcessEngine()))
    units = {event.source.rsplit("/", 1)[1]: event for event in told if isinstance(event, UnitDone)}
    read, tell = units["good.bin"].stages
    assert (read.stage, read.computed, read.bytes, read.failures) == ("read", 1, 100, {})
    assert (tell.stage, tell.computed, tell.tokens) == ("tell", 1, {"told": 7})
    assert units["bad.bin"].failed == 1
    assert units["bad.bin"].stages[1].failures == {"ValueError": 1} and units["bad.bin"].stages[1].tokens == {}
    assert [event.done for event in told if isinstance(event, Committed)] == done and len(done) == 2
    calls = [event for event in told if isinstance(event, StageCall)]
    assert [(call.stage, call.items, call.failed) for call in calls if call.source.endswith("bad.bin")] == [
        ("read", 1, 0),
        ("tell", 1, 1),
    ]
    assert all(call.began <= call.ended for call in calls)


def test_a_job_prints_its_events_and_who_follows_it_tells_them_once(plan, capsys, caplog):
    caplog.set_level(logging.INFO, "curate")
    told, own = [], []
    with listening(print_event):
        list(materialize(plan, ["a-000000"], InProcessEngine()))
        emit(PoolState("tell", waiting=3, busy=1))
    printed = capsys.readouterr().out
    printed += json.dumps({"time": "", "level": "WARNING", "logger": "curate.stages", "message": "a warning"}) + "\n"
    printed += "no JSON\n" + json.dumps({"event": "OfTheFuture"}) + "\n" + '{"event": "UnitDone", "pl'
    caplog.clear()
    with listening(told.append), listening(own.append, own_only=True):
        known = relay(printed, 0)
        assert relay(printed, known) == known
    assert [type(event).__name__ for event in told] == ["Announced", "UnitDone", "UnitDone", "PoolState"] and own == []
    assert told[-1] == PoolState("tell", waiting=3, busy=1)
    assert {each.stage for each in told[1].stages} == {"read", "tell"}
    assert ("curate.stages", logging.WARNING, "a warning") in caplog.record_tuples
    assert "a-000000: 2 of 2 files" in caplog.text


def test_a_listener_that_raises_costs_a_run_nothing(plan, caplog):
    def broken(event):
        raise RuntimeError("of a listener")

    with listening(broken):
        assert len(list(materialize(plan, ["a-000000"], InProcessEngine()))) == 2
    assert "of a listener" in caplog.text
