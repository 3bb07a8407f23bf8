"""A gateway that is killed and started again while people speak: what the page and the SDK lose.

    python -m tests.browser.restarts OUT.json [--rounds N] [--kills K]

In each round a browser plays a recording to the captions page while the Python client streams the
same recording, both in real time and to the same gateway. It is killed (SIGKILL) at moments drawn
from a seed and started again on the same ports. What stands on the page and what the client was
told are compared with what gRPC makes of the recording undisturbed. The fake engine answers, so
that the text depends on nothing but the audio.
"""

from __future__ import annotations

import argparse
import difflib
import json
import os
import platform
import random
import signal
import tempfile
import threading
import time
from pathlib import Path

import soundfile

import legonn
from tests.browser.speech import RATE, over_grpc, recording, talk
from tests.support.browser import browser
from tests.support.process import ServerProcess

WATCH = (Path(__file__).parent / "watch.js").read_text(encoding="utf-8")
PATIENT = legonn.RetryPolicy(resume_for_s=120)
STRETCH_SECONDS = 2.0  # of a sentence and its pause, as ``talk`` has them


class Speaker:
    """The Python client with a recording, in a thread of its own.

    Attributes:
        finals: What it was told, in order.
        error: What ended it before its end.
        num_recovered: How often it went on after a loss.
    """

    def __init__(self, address: str, pcm: bytes) -> None:
        self._address = address
        self._pcm = pcm
        self.finals: list[legonn.Final] = []
        self.error = ""
        self.num_recovered = 0
        self._thread = threading.Thread(target=self._speak, daemon=True)

    def start(self) -> None:
        """Begin to speak."""
        self._thread.start()

    def join(self) -> None:
        """Wait until all was said and heard."""
        self._thread.join(300)

    def _speak(self) -> None:
        chunks = (self._pcm[at : at + 3200] for at in range(0, len(self._pcm), 3200))
        try:
            with legonn.Client(self._address, retry=PATIENT) as client:
                for event in client.stream(legonn.paced(chunks, RATE)):
                    if isinstance(event, legonn.Final):
                        self.finals.append(event)
                    if isinstance(event, legonn.Notice) and event.kind == "RECOVERED":
                        self.num_recovered += 1
        except legonn.LegonnError as error:
            self.error = f"{type(error).__name__}: {error}"

    @property
    def text(self) -> str:
        """All finals."""
        return " ".join(final.text for final in self.finals if final.text)


def one_round(seed: int, num_kills: int) -> dict:
    """Both front ends through ``num_kills`` losses of their gateway."""
    dice = random.Random(seed)
    num_sentences = 8 * num_kills + 4
    with tempfile.TemporaryDirectory() as folder, ServerProcess() as server:
        path = recording(Path(folder), talk(num_sentences))
        pcm = soundfile.read(path, dtype="int16")[0].tobytes()
        expected = over_grpc(server.address, pcm)
        with browser(Path(folder)) as window:
            window.open(server.page)
            window.js(WATCH)
            speaker = Speaker(server.address, pcm)
            window.driver.find_element("id", "file").send_keys(str(path))
            speaker.start()
            window.wait_for_state("live")
            kills = []
            for number in range(num_kills):
                heard = f"document.querySelectorAll('#transcript p').length >= {2 * number + 1}"
                over = "document.getElementById('state').dataset.state === 'ended'"
                window.wait_for(f"return {heard} || {over}")
                time.sleep(dice.uniform(0, STRETCH_SECONDS))
                words = window.js(
                    "return document.querySelectorAll('#transcript .word.solid').length"
                )
                server.end(signal.SIGKILL)
                is_over = window.wait_for_state("reconnecting", "connecting", "ended") == "ended"
                time.sleep(dice.uniform(0, STRETCH_SECONDS))
                server.start()
                if is_over:
                    break  # the machine takes so long to start a server that all was said before
                kills.append({"committed_words": words})
            state = window.wait_for_state("ended", "failed", seconds=180)
            speaker.join()
            return {
                "seed": seed,
                "kills": kills,
                "expected": expected,
                "page": {
                    "state": state,
                    "changed_committed_text": len(window.js("return window.__broken")),
                    **difference(expected, window.text()),
                },
                "client": {
                    "error": speaker.error,
                    "recovered": speaker.num_recovered,
                    **difference(expected, speaker.text),
                },
            }


def difference(expected: str, found: str) -> dict[str, object]:
    """Words that are missing from ``found`` and words that are too many."""
    before, after = expected.split(), found.split()
    lost = doubled = 0
    matcher = difflib.SequenceMatcher(None, before, after, autojunk=False)
    for kind, start, stop, other, end in matcher.get_opcodes():
        if kind != "equal":
            lost, doubled = lost + stop - start, doubled + end - other
    return {"words": len(after), "lost": lost, "doubled": doubled, "same": expected == found}


def main() -> None:
    """Play the rounds and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--kills", type=int, default=4)
    arguments = parser.parse_args()
    rounds: list[dict] = []
    for seed in range(arguments.rounds):
        rounds.append(one_round(seed, arguments.kills))
        report = {
            "machine": f"{os.cpu_count()} CPU cores, {platform.machine()}, shared with other work",
            "rounds": len(rounds),
            "kills": sum(len(one["kills"]) for one in rounds),
            "words": sum(len(one["expected"].split()) for one in rounds),
            **{
                f"{side}_{what}": sum(one[side][what] for one in rounds)
                for side in ("page", "client")
                for what in ("lost", "doubled", "same")
            },
            "page_changed_committed_text": sum(
                one["page"]["changed_committed_text"] for one in rounds
            ),
            "each": rounds,
        }
        arguments.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
