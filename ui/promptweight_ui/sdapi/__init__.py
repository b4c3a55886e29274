"""HTTP API with the paths, fields and answers of AUTOMATIC1111's, for programs that know that tool.

`promptweight ui --api` serves it beside the page, below `/sdapi/v1/`. A field that promptweight cannot follow
is refused with a sentence that names it, unless its value has no effect.

- `fields`: the fields of a request, and values without effect;
- `calls`: requests as checked arguments of `promptweight.generate`;
- `answers`: images and settings in the form of the tool;
- `server`: the paths, the runs, and logins.
"""
