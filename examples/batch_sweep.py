"""Batch from a job file and a sweep, into a folder that an interrupted run can continue.

python examples/batch_sweep.py                       the built-in model
python examples/batch_sweep.py MODEL                 a hub id, a folder or a .safetensors file

The same from the command line:

    promptweight batch jobs.txt -o out --seeds 4,5 --weights "rato cinza=0,0.4,1" --weightings a1111,attention
"""

from options import arguments

from promptweight import Weighting, batch
from promptweight.batch import OutputFolder, Sweep, save_contact_sheets

JOBS = """\
# each line is one image: the prompt, then options for it alone
um gato vermelho persegue um rato cinza
um peixe azul e um rato cinza --cfg 6
"""
SWEEP = Sweep(
    seeds=(4, 5),
    weights=(("rato cinza", (0.0, 0.4, 1.0)),),
    weightings=(Weighting("a1111"), Weighting("attention")),
)


def main() -> None:
    """Write the job file, plan its images, generate the missing ones, and draw contact sheets."""
    options = arguments(__doc__).parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    jobs = options.output / "jobs.txt"
    jobs.write_text(JOBS, encoding="utf-8")

    # Reading and planning load no model; errors in the file are reported here, as file:line:column.
    rows = batch.read_jobs(jobs)
    plan = batch.plan_batch(
        rows, model=options.model, defaults={"num_inference_steps": options.steps}, sweep=SWEEP
    )
    print(f"{len(rows)} lines, {len(plan.images)} images")

    # An image's file name contains its job id, so a second run skips finished images.
    outcome = batch.run(plan, options.output, batch_size=4)
    print(f"{outcome.ok} generated, {outcome.skipped} skipped, {outcome.failed} failed")
    with OutputFolder(options.output) as folder:
        print(*save_contact_sheets(plan, folder), sep="\n")


if __name__ == "__main__":
    main()
