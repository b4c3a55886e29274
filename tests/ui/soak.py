"""Memory of the app over hundreds of runs, measured while they pass through its queue.

    python tests/ui/soak.py --runs 300

The app runs in a process of its own with a built-in model. Each session generates some images and closes its
page in the middle of a run. The resident memory after every session is compared with that at the end of the
warm-up; growth of more than `--max-growth` megabytes ends with exit code 1.
"""

from __future__ import annotations

import argparse
import os
import socket
import subprocess
import sys
import tempfile
import time
from itertools import cycle
from typing import Any

import httpx
import psutil
from gradio_client import Client

PROMPTS = ("um (gato:1.4) vermelho", "um rato [azul]", "um (peixe:=30%) e um gato", "um [gato:rato:0.5]")
SAMPLERS = ("own", "Euler a", "DPM++ 2M")


def main() -> None:
    """Run all sessions and print the resident memory after each."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=300, help="after the warm-up")
    parser.add_argument("--warm-up", type=int, default=60, help="runs before the first measurement")
    parser.add_argument("--each", type=int, default=15, help="runs of one session")
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--model", default="mini")
    parser.add_argument("--max-growth", type=float, default=20.0, help="megabytes that memory may grow by")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        url, server = serve(options.model, folder)
        try:
            growth = soak(url, psutil.Process(server.pid), options, folder)
        finally:
            server.terminate()
            server.wait()
    print(f"growth: {growth:+.1f} MB over {options.runs} runs after {options.warm_up} for warm-up")
    sys.exit(growth > options.max_growth)


def serve(model: str, folder: str) -> tuple[str, subprocess.Popen[bytes]]:
    """Start the app by its command, and return its URL once it responds, and its process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = ["--model", model, "--port", str(port), "--no-save", "--no-browser"]
    command = [sys.executable, "-m", "promptweight", "ui", *options]
    environment = {**os.environ, "GRADIO_TEMP_DIR": folder}
    server = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    while server.poll() is None:
        try:
            httpx.get(f"{url}/config", timeout=60).raise_for_status()
        except httpx.HTTPError:
            time.sleep(0.5)
        else:
            return url, server
    sys.exit(f"the app ended with exit code {server.returncode}")


def soak(url: str, process: psutil.Process, options: argparse.Namespace, folder: str) -> float:
    """Run all sessions and return the growth of the resident memory after the warm-up in megabytes."""
    done, seed, first, now = 0, 0, 0.0, 0.0
    prompts, samplers = cycle(PROMPTS), cycle(SAMPLERS)
    while done < options.warm_up + options.runs:
        client = Client(url, verbose=False, download_files=folder, httpx_kwargs={"timeout": None})
        for _ in range(options.each):
            seed += 1
            client.predict(*settings(options, next(prompts), next(samplers), seed), api_name="/generate_form")
        # The page closes in the middle of a run; the model must be free for the next session.
        long = argparse.Namespace(**{**vars(options), "steps": 150})
        job = client.submit(*settings(long, next(prompts), "own", seed, number=4), api_name="/generate_form")
        next(job)
        client.close()
        job.cancel()
        done += options.each
        now = process.memory_info().rss / 1e6
        first = first if first and done > options.warm_up else now
        print(f"{done:5d} runs  {now:8.1f} MB  {now - first:+7.1f} MB", flush=True)
    return now - first


def settings(
    options: argparse.Namespace, prompt: str, sampler: str, seed: int, number: int = 1
) -> tuple[Any, ...]:
    """Return the values of the Generate tab."""
    return (
        prompt, "", options.model, "default", sampler, "default", options.steps, 4.0, seed, False, number,
        None, None, 0, True, "en",
    )  # fmt: skip


if __name__ == "__main__":
    main()
