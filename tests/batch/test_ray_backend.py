"""Workers of a Ray cluster, without a cluster: the plan that they receive, and the lines that they return."""

import json
import pickle

from promptweight.batch import OutputOptions
from promptweight.batch.ray_backend import RayWorker


def test_plan_is_sent_without_parsed_prompts_and_with_shared_options(plan_of):
    plan = plan_of("um gato", "um [gato:rato:0.5]", seeds=tuple(range(50)))
    sent = pickle.dumps(plan)
    received = pickle.loads(sent)
    assert received == plan
    assert len({id(image.job.options) for image in received.images}) == 1
    assert b"ParseTree" not in sent


def test_worker_draws_the_images_of_a_plan_that_it_receives(plan_of, model_folder, tmp_path):
    plan = plan_of("um gato", "um [gato:rato:0.5]", "um rato", num_inference_steps=2)
    worker = RayWorker(
        plan=pickle.loads(pickle.dumps(plan)),
        output=str(tmp_path / "out"),
        output_options=OutputOptions(masks=True),
        overwrite=False,
        device="cpu",
        dtype="auto",
        offload=None,
    )
    lines = [json.loads(line) for line in worker({"images": [[0, 2], [1]]})["line"]]
    assert sorted((line["status"], line["id"]) for line in lines) == sorted(
        ("ok", image.id) for image in plan.images
    )
    assert {
        path.name for path in (tmp_path / "out").glob("0*-??????????*.png") if ".mask" not in path.name
    } == {f"{image.stem}.png" for image in plan.images}
