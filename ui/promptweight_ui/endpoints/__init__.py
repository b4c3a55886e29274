"""Endpoints of the app for programs, called by `gradio_client` or HTTP: images, maps, prompts and files."""
