"""Batches: images from a job file, in a run that can be stopped, resumed and split across processes.

    from promptweight import batch

    jobs = batch.read_jobs("prompts.txt")         # errors as file:line:column, before a model is loaded
    plan = batch.plan_batch(jobs, model="mini")
    outcome = batch.run(plan, "out", batch_size=4)

From a file to images:

    job_files, job_rows              job files as rows of settings
    prompt_lines, csv_table,         their formats
    json_objects
    job_options, foreign_options     the options of rows and their checks
    jobs, styles, random_seeds       the settings of one image
    sweep, row_expansion             rows × seeds × sweep = jobs
    plan, image_ids                  planned images, each with an id
    parsed_prompts                   prompts, each parsed once
    sharding                         the part of the plan for this process
    runner, executor                 the run, and the interface to what executes it
    worker, ray_backend              execution in this process, or by workers of a Ray cluster
    prompt_cache, renderer           encoded prompts, and the calls of the model
    oom_fallback                     smaller batches after a lack of memory
    writer, contact_sheets           the files of an image, and of a sweep
    output_folder, manifest          images, claims, and the log of the run
    finished_images                  complete files of the job that they belong to
    progress                         counts, remaining time, and the request to stop

Reading and planning import no torch.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
