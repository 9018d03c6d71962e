"""Small real media files, made with PyAV."""

from fractions import Fraction
from pathlib import Path

import av


def make_media(path: Path, *, seconds: int = 1, chapters: bool = True) -> Path:
    """A film of 64 by 48 pixels with silence in English, and with a chapter of half a second."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        video = container.add_stream("mpeg4", rate=24)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        audio = container.add_stream("aac", rate=48000)
        audio.layout = "stereo"
        audio.metadata["language"] = "eng"
        if chapters:
            title = {"title": "One"}
            container.set_chapters(
                [{"id": 1, "start": 0, "end": 500, "time_base": Fraction(1, 1000), "metadata": title}]
            )
        for number in range(24 * seconds):
            picture = av.VideoFrame(64, 48, "yuv420p")
            picture.pts = number
            container.mux(video.encode(picture))
        container.mux(video.encode(None))
        for number in range(47 * seconds):
            sound = av.AudioFrame(format="fltp", layout="stereo", samples=1024)
            sound.sample_rate, sound.pts = 48000, number * 1024
            for plane in sound.planes:
                plane.update(bytes(plane.buffer_size))
            container.mux(audio.encode(sound))
        container.mux(audio.encode(None))
    return path
