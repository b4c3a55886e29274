"""The face of promptweight in a browser; installed under the import name `promptweight_ui`."""
