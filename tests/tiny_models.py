"""Tiny models with random weights, saved as real ones are: they exercise loading and arithmetic, not meaning."""

import json
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    BertConfig,
    BertForMaskedLM,
    CLIPConfig,
    CLIPModel,
    DINOv3ViTConfig,
    DINOv3ViTModel,
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
    SiglipConfig,
    SiglipModel,
    SmolVLMConfig,
    SmolVLMForConditionalGeneration,
)
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil
from transformers.models.smolvlm.image_processing_pil_smolvlm import SmolVLMImageProcessorPil

_LAYERS: dict[str, Any] = {"hidden_size": 48, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
_TEXT: dict[str, Any] = {**_LAYERS, "vocab_size": 64, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2}
_IMAGE: dict[str, Any] = {**_LAYERS, "image_size": 32, "patch_size": 8}


def tiny_clip(folder: Path) -> Path:
    """A CLIP with 32x32 input and 24-d projections; returns `folder`."""
    torch.manual_seed(1)
    config = CLIPConfig(text_config=_TEXT, vision_config=_IMAGE, projection_dim=24)
    CLIPModel(config).save_pretrained(folder)
    CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


def with_words(folder: Path) -> Path:
    """Gives a tiny CLIP or SigLIP a tokenizer of a dozen words; returns `folder`."""
    words = ["<s>", "</s>", "<pad>", "<unk>", *"a dog runs on the beach car drives at night red".split()]
    known = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="<unk>"))
    known.pre_tokenizer = pre_tokenizers.Whitespace()
    known.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 1)])
    PreTrainedTokenizerFast(
        tokenizer_object=known, bos_token="<s>", eos_token="</s>", pad_token="<pad>", unk_token="<unk>"
    ).save_pretrained(folder)
    return folder


def tiny_aesthetic_head(folder: Path, features: int = 24) -> Path:
    """Five linear layers with dropout between the first four, numbered as in the known heads; returns `folder`."""
    torch.manual_seed(6)
    widths = (features, 32, 16, 8, 4, 1)
    layers = [torch.nn.Linear(*pair) for pair in pairwise(widths)]
    numbered = {f"layers.{number}": layer for number, layer in zip((0, 2, 4, 6, 7), layers, strict=True)}
    tensors = {f"{name}.{key}": value for name, layer in numbered.items() for key, value in layer.state_dict().items()}
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / "model.safetensors")
    return folder


def tiny_siglip(folder: Path) -> Path:
    """A SigLIP with 32x32 input and 48-d features; returns `folder`."""
    torch.manual_seed(2)
    SiglipModel(SiglipConfig(text_config=_TEXT, vision_config=_IMAGE)).save_pretrained(folder)
    SiglipImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


def tiny_dinov3(folder: Path) -> Path:
    """A DINOv3 with 32x32 input and 48-d features; returns `folder`."""
    torch.manual_seed(7)
    config = DINOv3ViTConfig(**_LAYERS, image_size=32, patch_size=8, num_register_tokens=2, initializer_range=0.2)
    DINOv3ViTModel(config).save_pretrained(folder)
    prepared: dict[str, Any] = {
        "image_processor_type": "DINOv3ViTImageProcessorFast",
        "size": {"height": 32, "width": 32},
    }
    prepared |= {"resample": 2, "do_center_crop": None, "rescale_factor": 0.00392156862745098}
    (folder / "preprocessor_config.json").write_text(json.dumps(prepared))
    return folder


_OF_BERT = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"a dog runs on the beach car drives at night red".split()]


def tiny_internvideo2(folder: Path) -> Path:
    """An InternVideo2 of stage 2 by the names of its published checkpoint: four frames of 28x28, a tower and a BERT of
    64 (whose third layer looks at pictures, too), 24-d vectors; returns `folder`."""
    torch.manual_seed(8)
    width, hidden, patches, pooled, joint = 64, 96, 4, 40, 24
    shapes: dict[str, tuple[int, ...]] = {
        "cls_token": (1, 1, width),
        **{f"{kind}pos_embed": (1, 4 * patches + 1, width) for kind in ("", "clip_")},
        **{f"{kind}pos_embed": (1, patches + 1, width) for kind in ("img_", "clip_img_")},
        "patch_embed.proj.weight": (width, 3, 1, 14, 14),
        "patch_embed.proj.bias": (width,),
        "clip_projector.cross_attn.proj.weight": (pooled, width),
        "clip_projector.cross_attn.proj.bias": (pooled,),
        "clip_decoder.0.head.weight": (32, width),
        "final_clip_decoder.norm.bias": (pooled,),
    }
    for part in "qkv":
        shapes |= {f"clip_projector.norm1_{part}.{kind}": (width,) for kind in ("weight", "bias")}
        shapes[f"clip_projector.cross_attn.{part}.weight"] = (width, width)
        shapes[f"clip_projector.cross_attn.{part}_bias"] = (width,)
    for number in range(2):
        block = f"blocks.{number}."
        names = "norm1.weight norm2.weight attn.q_norm.weight attn.k_norm.weight ls1.gamma ls2.gamma".split()
        shapes |= {block + name: (width,) for name in names}
        shapes |= {block + "attn.qkv.weight": (3 * width, width), block + "attn.proj.weight": (width, width)}
        shapes |= {block + "attn.proj.bias": (width,), block + "mlp.fc1.weight": (hidden, width)}
        shapes |= {block + "mlp.fc1.bias": (hidden,), block + "mlp.fc2.weight": (width, hidden)}
        shapes[block + "mlp.fc2.bias"] = (width,)
    state = {f"vision_encoder.{name}": torch.randn(shape) * 0.3 for name, shape in shapes.items()}
    others: dict[str, tuple[int, int]] = {
        "vision_proj": (joint, pooled),
        "text_proj": (joint, width),
        "itm_head": (2, width),
    }
    for name, shape in others.items():
        state |= {f"{name}.weight": torch.randn(shape), f"{name}.bias": torch.randn(shape[0])}
    bert = BertForMaskedLM(
        BertConfig(
            vocab_size=len(_OF_BERT),
            hidden_size=width,
            intermediate_size=hidden,
            num_hidden_layers=3,
            num_attention_heads=16,
            max_position_embeddings=48,
            initializer_range=0.2,
        )
    )
    state |= {f"text_encoder.{name}": value.clone() for name, value in bert.state_dict().items()}
    looking = "text_encoder.bert.encoder.layer.2.crossattention.self.query"
    state |= {f"{looking}.weight": torch.randn(width, width), f"{looking}.bias": torch.randn(width)}
    state["temp"] = torch.tensor(0.07)
    folder.mkdir(parents=True, exist_ok=True)
    save_file(state, folder / "model.safetensors")
    (folder / "vocab.txt").write_text("\n".join(_OF_BERT))
    return folder


_CHAT_TEMPLATE = """{%- for message in messages -%}
<|im_start|>{{ message.role }}
{% if message.content is string %}{{ message.content }}{% else %}{% for part in message.content -%}
{% if part.type == 'video' %}<|vision_start|><|video_pad|><|vision_end|>{% else %}{{ part.text }}{% endif %}
{%- endfor %}{% endif %}<|im_end|>
{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""

_SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>"]
_SPECIAL += ["<|image_pad|>", "<|video_pad|>"]


def _qwen_tokenizer(folder: Path) -> dict[str, int]:
    marks = {
        "image_token": "<|image_pad|>",
        "video_token": "<|video_pad|>",
        "vision_bos_token": "<|vision_start|>",
        "vision_eos_token": "<|vision_end|>",
    }
    return _tokenizer(folder, _SPECIAL, marks, "<|im_end|>", _CHAT_TEMPLATE)


def _tokenizer(
    folder: Path, special: list[str], marks: dict[str, str], end: str, template: str | None = None
) -> dict[str, int]:
    """A byte-level tokenizer, saved; returns its vocabulary.

    Args:
        special: tokens; `marks`: the attributes that name some of them, and `end` is the last of an answer.
        template: of chats.
    """
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=special, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    bpe.train_from_iterator(
        ["a dog walks along the street while people look at the camera and the light fades"] * 4, trainer
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        eos_token=end,
        pad_token="<|endoftext|>",
        extra_special_tokens=marks,
    )
    tokenizer.chat_template = template
    tokenizer.save_pretrained(folder)
    return bpe.get_vocab()


def _qwen_ids(token: dict[str, int]) -> dict[str, int]:
    return {
        "image_token_id": token["<|image_pad|>"],
        "video_token_id": token["<|video_pad|>"],
        "vision_start_token_id": token["<|vision_start|>"],
        "vision_end_token_id": token["<|vision_end|>"],
    }


def _qwen_processors(folder: Path, family: str, video: str, **settings: Any) -> None:
    """By hand: transformers' own preparation of videos cannot be imported without torchvision."""
    Qwen2VLImageProcessorPil(**settings).save_pretrained(folder)
    processors = {"processor_class": f"{family}Processor", "video_processor_type": f"{video}VideoProcessor"}
    (folder / "video_preprocessor_config.json").write_text(json.dumps(processors | settings))


def tiny_qwen2_5_vl(
    folder: Path, text: Mapping[str, Any] = MappingProxyType({}), vision: Mapping[str, Any] = MappingProxyType({})
) -> Path:
    """A Qwen2.5-VL of less than a million parameters with its own byte-level tokenizer; returns `folder`.

    Args:
        text, vision: what is not as in the tiny one.
    """
    torch.manual_seed(3)
    token = _qwen_tokenizer(folder)
    config = Qwen2_5_VLConfig(
        text_config={
            "vocab_size": len(token),
            "hidden_size": 128,  # heads of 32: vLLM has no smaller ones on a CPU
            "intermediate_size": 128,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            # Random weights of the usual size barely react to their input; these do.
            "initializer_range": 0.2,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [4, 6, 6]},
            "bos_token_id": token["<|endoftext|>"],
            "eos_token_id": token["<|im_end|>"],
            **text,
        },
        vision_config={
            "depth": 2,
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_heads": 4,
            "out_hidden_size": 128,
            "fullatt_block_indexes": [1],
            "initializer_range": 0.2,
            **vision,
        },
        **_qwen_ids(token),
    )
    Qwen2_5_VLForConditionalGeneration(config).save_pretrained(folder)
    _qwen_processors(folder, "Qwen2_5_VL", "Qwen2VL")
    return folder


def tiny_qwen3_vl(folder: Path) -> Path:
    """A Qwen3-VL of about a million parameters, likewise."""
    torch.manual_seed(3)
    token = _qwen_tokenizer(folder)
    config = Qwen3VLConfig(
        text_config={
            "vocab_size": len(token),
            "hidden_size": 128,
            "intermediate_size": 128,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 32,
            "initializer_range": 0.2,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 1e6,
                "mrope_section": [6, 5, 5],
                "mrope_interleaved": True,
            },
            "bos_token_id": token["<|endoftext|>"],
            "eos_token_id": token["<|im_end|>"],
        },
        vision_config={
            "depth": 2,
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_heads": 4,
            "out_hidden_size": 128,
            "deepstack_visual_indexes": [0, 1],
            "initializer_range": 0.2,
        },
        **_qwen_ids(token),
    )
    Qwen3VLForConditionalGeneration(config).save_pretrained(folder)
    _qwen_processors(folder, "Qwen3VL", "Qwen3VL", patch_size=16, image_mean=[0.5] * 3, image_std=[0.5] * 3)
    return folder


def tiny_qwen2(folder: Path) -> Path:
    """A Qwen2 language model of a quarter of a million parameters, with the same tokenizer; returns `folder`."""
    torch.manual_seed(5)
    token = _qwen_tokenizer(folder)
    config = Qwen2Config(
        **{**_LAYERS, "hidden_size": 64, "num_attention_heads": 4},
        vocab_size=len(token),
        num_key_value_heads=2,
        initializer_range=0.2,
        max_position_embeddings=4096,
        bos_token_id=token["<|endoftext|>"],
        eos_token_id=token["<|im_end|>"],
    )
    Qwen2ForCausalLM(config).save_pretrained(folder)
    return folder


_SMOLVLM_TEMPLATE = (
    "<|im_start|>{% for message in messages %}{{ message['role'] | capitalize }}"
    "{% if message['content'][0]['type'] == 'image' %}{{ ':' }}{% else %}{{ ': ' }}{% endif %}"
    "{% for line in message['content'] %}{% if line['type'] == 'text' %}{{ line['text'] }}"
    "{% elif line['type'] == 'image' %}{{ '<image>' }}{% endif %}{% endfor %}<end_of_utterance>\n{% endfor %}"
    "{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"
)


def tiny_smolvlm(folder: Path) -> Path:
    """A SmolVLM2 of some hundred thousand parameters, with images of 64x64 in four tokens each; likewise."""
    torch.manual_seed(4)
    marks = {"image_token": "<image>", "fake_image_token": "<fake_token_around_image>"}
    marks |= {"global_image_token": "<global-img>", "end_of_utterance_token": "<end_of_utterance>"}
    token = _tokenizer(folder, ["<|endoftext|>", "<|im_start|>", *marks.values()], marks, "<end_of_utterance>")
    (folder / "chat_template.json").write_text(json.dumps({"chat_template": _SMOLVLM_TEMPLATE}))
    config = SmolVLMConfig(
        text_config={
            **_LAYERS,
            "model_type": "llama",
            "vocab_size": len(token),
            "initializer_range": 0.2,
            "bos_token_id": token["<|im_start|>"],
            "eos_token_id": token["<end_of_utterance>"],
            "head_dim": 24,
        },
        vision_config={**_LAYERS, "image_size": 64, "patch_size": 16, "initializer_range": 0.2},
        image_token_id=token["<image>"],
        scale_factor=2,
        pad_token_id=token["<|endoftext|>"],
    )
    SmolVLMForConditionalGeneration(config).save_pretrained(folder)
    SmolVLMImageProcessorPil(size={"longest_edge": 256}, max_image_size={"longest_edge": 64}).save_pretrained(folder)
    return folder
