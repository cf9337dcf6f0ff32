"""The posts as retained documents."""

from config.models import Configuration, Post
from gateway.values import Document
from gateway.wire import places
from gateway.wire.table import dump


def posts(configuration: Configuration) -> list[Document]:
    """The posts, below the root of each kind of detector that stands there."""
    exercise = {one.post for one in configuration.detector if one.simulated}
    operational = {one.post for one in configuration.detector if not one.simulated}
    return [
        _post(post, is_exercise=is_exercise)
        for post in configuration.post
        for is_exercise, members in ((False, operational), (True, exercise))
        if post.id in members
    ]


def _post(post: Post, *, is_exercise: bool) -> Document:
    return Document(f"post/{post.id}", dump(places.POST.encode(post)), is_exercise)
