"""Nodes with which `make test-comfyui` makes a real ComfyUI do what real workflows do at their worst.

The servers under test load this file from a folder of their own (`--base-directory`); nothing is written into the
installation. Each node takes and returns an image, so that it can stand between EmptyImage and SaveImage, except for
those that leave something themselves.
"""

import os
import time

import comfy.model_management
import comfy.utils
import folder_paths

# A text with half of a surrogate pair: Python has it in memory, and no encoder of UTF-8 takes it.
LONE_SURROGATE = "half a pair: \ud83d"


class ArgosySleep:
    """Sleeps in steps, reports each of them, and notices an interrupt between two."""

    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "sleep"
    CATEGORY = "argosy"

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {
                "image": ("IMAGE",),
                "seconds": ("FLOAT", {"default": 1.0, "min": 0.0, "max": 600.0}),
                "steps": ("INT", {"default": 4, "min": 1, "max": 1000}),
            }
        }

    def sleep(self, image, seconds, steps):
        bar = comfy.utils.ProgressBar(steps)
        for step in range(steps):
            comfy.model_management.throw_exception_if_processing_interrupted()
            time.sleep(seconds / steps)
            bar.update_absolute(step + 1, steps)
        return (image,)


class ArgosyRaise:
    """Raises, with plain words or with words that cannot be encoded."""

    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "fail"
    CATEGORY = "argosy"

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"image": ("IMAGE",), "words": (["plain", "surrogate"],)}}

    def fail(self, image, words):
        raise RuntimeError("raised on purpose" if words == "plain" else LONE_SURROGATE)


class ArgosyShow:
    """Leaves something beside the files: a text, or what only Python takes for JSON, or what is none at all."""

    RETURN_TYPES = ()
    FUNCTION = "show"
    OUTPUT_NODE = True
    CATEGORY = "argosy"

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"image": ("IMAGE",), "what": (["text", "nan", "surrogate", "object"],)}}

    def show(self, image, what):
        shown = {
            "text": {"text": ["zwölf ✓"]},
            "nan": {"score": [float("nan"), float("inf")]},
            "surrogate": {"text": [LONE_SURROGATE]},
            "object": {"score": [object()]},
        }
        return {"ui": shown[what]}


class ArgosyEnd:
    """Ends the server's process: for `once`, only the first server that comes by; the folder is common to both."""

    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "end"
    CATEGORY = "argosy"

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"image": ("IMAGE",), "when": (["once", "always"],), "key": ("STRING", {})}}

    def end(self, image, when, key):
        mark = os.path.join(os.environ["ARGOSY_HELPERS_DIR"], os.path.basename(key))
        if when == "once" and os.path.exists(mark):
            return (image,)
        with open(mark, "a", encoding="utf-8") as file:
            file.write("ended\n")
        os._exit(1)


class ArgosyFiles:
    """Writes many small files, with names that a person may give, or one file with nothing in it."""

    RETURN_TYPES = ()
    FUNCTION = "write"
    OUTPUT_NODE = True
    CATEGORY = "argosy"

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {
                "image": ("IMAGE",),
                "filename_prefix": ("STRING", {"default": "files"}),
                "count": ("INT", {"default": 1, "min": 1, "max": 10000}),
                "bytes": ("INT", {"default": 16, "min": 0, "max": 1 << 20}),
            }
        }

    def write(self, image, filename_prefix, count, bytes):
        folder, name, counter, subfolder, _ = folder_paths.get_save_image_path(
            filename_prefix, folder_paths.get_output_directory()
        )
        files = []
        for number in range(counter, counter + count):
            filename = f"{name}_{number:05}_ größe #1 100%25&.txt"
            with open(os.path.join(folder, filename), "wb") as file:
                file.write(b"a" * bytes)
            files.append({"filename": filename, "subfolder": subfolder, "type": "output"})
        return {"ui": {"files": files}}


NODE_CLASS_MAPPINGS = {node.__name__: node for node in (ArgosySleep, ArgosyRaise, ArgosyShow, ArgosyEnd, ArgosyFiles)}
