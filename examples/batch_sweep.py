"""A job file and what is varied in it, to a folder of pictures that a killed run leaves ready to continue.

python examples/batch_sweep.py                       the built-in model
python examples/batch_sweep.py MODEL                 a hub id, a folder or a .safetensors file

It does from Python what this command does:

    promptweight batch jobs.txt -o out --seeds 4,5 --weights "rato cinza=0,0.4,1" --methods a1111,logit
"""

from options import arguments

from promptweight import batch
from promptweight.batch import OutputFolder, Sweep, save_contact_sheets

JOBS = """\
# a line is a picture: the prompt, then options that hold for it alone
um gato vermelho persegue um rato cinza
um peixe azul e um rato cinza --cfg 6
"""
SWEEP = Sweep(seeds=(4, 5), weights=(("rato cinza", (0.0, 0.4, 1.0)),), methods=("a1111", "logit"))


def main() -> None:
    """Write the job file, plans its pictures, makes those that are missing, and their contact sheets."""
    options = arguments(__doc__).parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    jobs = options.output / "jobs.txt"
    jobs.write_text(JOBS, encoding="utf-8")

    # Reading and planning load no model; every mistake in the file is told here, as file:line:column.
    rows = batch.read_jobs(jobs)
    plan = batch.plan_batch(
        rows, model=options.model, defaults={"num_inference_steps": options.steps}, sweep=SWEEP
    )
    print(f"{len(rows)} lines, {len(plan.pictures)} pictures")

    # A picture's name holds its id, so a second run skips what is finished, whatever else has changed.
    outcome = batch.run(plan, options.output, batch_size=4)
    print(f"{outcome.ok} made, {outcome.skipped} were there, {outcome.failed} failed")
    with OutputFolder(options.output) as folder:
        print(*save_contact_sheets(plan, folder), sep="\n")


if __name__ == "__main__":
    main()
