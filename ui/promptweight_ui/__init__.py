"""Browser app of promptweight (Gradio).

- `app`: the app with its tabs, and how it is served
- `static_files`: JavaScript modules and styles of the page
- `context`: objects shared by all tabs
- `sessions`, `runs`: browser sessions, and runs of a model in a thread
- `models`: models and samplers that the server offers
- `generation`: the Generate form, checked and run
- `history`: images of a session, and settings in image files
- `i18n`: texts in English and Portuguese
- `validation`: checks of values from browsers
- `malloc_trim`: memory returned to the system after a run
- `components/`, `compare/`, `regions/`, `explore/`: parts of the tabs without layout
- `tabs/`: layout and events of each tab
"""
