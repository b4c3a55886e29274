"""The app for visitors of a public machine: `python examples/space/app.py`.

Nothing is saved, and every visitor sees their own images only. `GRADIO_SERVER_PORT` sets the port.
"""

import os

from promptweight_ui.app import launch

if __name__ == "__main__":
    port = int(os.environ.get("GRADIO_SERVER_PORT", "7860"))
    launch(["mini"], host="0.0.0.0", port=port, output_dir=None)
