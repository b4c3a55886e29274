"""See and steer what every word does: recording and weighting attention inside diffusers pipelines."""
