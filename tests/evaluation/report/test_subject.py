"""Detection of models of the built-in world."""

from promptweight.evaluation.report.subject import draws_builtin_world


def test_draws_builtin_world_by_image_size(mini, joint, tiny_pipe):
    assert draws_builtin_world(mini)
    assert draws_builtin_world(joint)
    assert not draws_builtin_world(tiny_pipe)
