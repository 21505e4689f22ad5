"""The attentive network (Esteve-Cogollos & Fernández-Torres 2020, Fig. 1) and the smaller ones that it is compared with."""

from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from typing import Literal, NamedTuple, cast

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from models.attentive_convlstm import AttentionScale, AttentiveConvLstm
from models.dropout import drop
from models.layers import dense
from models.parts import in_parts
from models.structure_decoder import Pooling, StructureDecoder
from models.vgg import BatchNormMode, VggBlocks, scaled

Head = Literal["gap", "fully_connected"]
DiagnosisInput = Literal["attended", "features"]
NUM_STRUCTURES = 6
NUM_DIAGNOSES = 2
MINIMUM_SIZE_PX = 32
#: VGG's own classifier: cells a side after adaptive pooling, units, dropout, deviation of its initial weights.
_VGG_CELLS, _VGG_UNITS, _VGG_DROPOUT, _VGG_DEVIATION = 7, 4096, 0.5, 0.01


class Reading(NamedTuple):
    """What the network says of a batch; None where a variant lacks the part.

    Args:    diagnosis: logits, batch × (benign, melanoma).
             masks: logits, batch × time × height × width.
             structures: logits, batch × time × structures.
             attention: A_t, batch × time × height/8 × width/8.
    """

    diagnosis: Tensor
    masks: Tensor | None
    structures: Tensor | None
    attention: Tensor | None


class AttentiveNetwork(nn.Module):
    """Encoder, attentive ConvLSTM, decoder with structure classifier, and diagnosis branch.

    Source: Esteve-Cogollos & Fernández-Torres 2020, Section 3.1, Fig. 1 to 4, and the authors' code
    Deviations: Fig. 4 pools T - 1 attended maps, text and code T, and so does this.

    Args:    attention: whether there is an attentive ConvLSTM; without it this is VGG (no decoder then).
             decoder: whether the gazes are drawn as masks and named.
             head: "gap": global average pooling; "fully_connected": VGG's three dense layers.
             timesteps, attention_scale: see `AttentiveConvLstm`.
             skips: whether the decoder sees the encoder's maps.
             batch_norm: in encoder, decoder and diagnosis branch.
             structure_pooling: see `StructureDecoder`.
             diagnosis_input: what blocks 4 and 5 see: "attended", X̃' at T - 1, or "features", X'.
             pooled_width: units of a dense layer that shrinks the T pooled attended maps; 0 for none.
             width: factor on all channels.
             encoder_width: factor on the encoder's, 1 for a pretrained one.
             input_mean, input_deviation: per channel; the images are standardised by them.
             generator: on the CPU; draws the initial weights.
    Raises:  ValueError: when there is a decoder without attention, or a width leaves no channel.
    """

    input_mean: Tensor
    input_deviation: Tensor

    def __init__(
        self,
        *,
        attention: bool = True,
        decoder: bool = True,
        head: Head = "gap",
        timesteps: int = 5,
        attention_scale: AttentionScale = "sum",
        skips: bool = True,
        batch_norm: BatchNormMode = "frozen",
        structure_pooling: Pooling = "average",
        diagnosis_input: DiagnosisInput = "attended",
        pooled_width: int = 0,
        width: float = 1.0,
        encoder_width: float | None = None,
        input_mean: Sequence[float] = (0.0, 0.0, 0.0),
        input_deviation: Sequence[float] = (1.0, 1.0, 1.0),
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if decoder and not attention:
            raise ValueError("attention must be on for a decoder; got attention off (--set decoder=false)")
        self.register_buffer("input_mean", torch.tensor(input_mean).view(3, 1, 1))
        self.register_buffer("input_deviation", torch.tensor(input_deviation).view(3, 1, 1))
        self.encoder = VggBlocks(
            (0, 1, 2),
            channels_in=3,
            width=width if encoder_width is None else encoder_width,
            batch_norm=batch_norm,
            generator=generator,
        )
        channels = self.encoder.channels[-1]
        self.attention = self.decoder = None
        if attention:
            hidden = scaled(256, width)
            self.attention = AttentiveConvLstm(
                channels=channels, hidden=hidden, timesteps=timesteps, scale=attention_scale, generator=generator
            )
            if decoder:
                self.decoder = StructureDecoder(
                    hidden=hidden,
                    skip_channels=self.encoder.channels if skips else None,
                    width=width,
                    batch_norm=batch_norm,
                    pooling=structure_pooling,
                    num_structures=NUM_STRUCTURES,
                    generator=generator,
                )
        self.diagnosis = DiagnosisBranch(
            channels=channels,
            timesteps=timesteps if attention else 0,
            head=head,
            sees_features=diagnosis_input == "features" or not attention,
            pooled_width=pooled_width,
            width=width,
            batch_norm=batch_norm,
            generator=generator,
        )
        self._encoder_is_frozen = False

    def freeze_encoder(self) -> None:
        """Takes the encoder's weights out of training: learning rate 0, transfer learning.

        Its norms do what `batch_norm` says: where they follow the batch in training, they do so here, as the authors' do.
        """
        self._encoder_is_frozen = True
        self.encoder.requires_grad_(False)

    def forward(
        self, images: Float[Tensor, "batch 3 height width"], generator: torch.Generator | None = None, num_parts: int = 1
    ) -> Reading:
        """Looks at a batch of images.

        Args:    images: RGB in [0, 1]; sides are multiples of 8, 32 or more.
                 generator: on the images' device; draws the dropout of a fully connected head in training mode.
                 num_parts: in which the batch passes, to take less memory; all at once where it is normalised by its own
                     statistics.
        Raises:  ValueError: when a side does not fit.
        """
        for side in images.shape[-2:]:
            check_size(side)
        parts = 1 if num_parts == 1 or self.takes_batch_statistics else num_parts
        return cast(Reading, in_parts(partial(self._read, generator), images, parts, generator))

    @property
    def takes_batch_statistics(self) -> bool:
        """Whether a case's result hangs on the others of its batch."""
        return any(isinstance(module, nn.BatchNorm2d) and module.training for module in self.modules())

    def _read(self, generator: torch.Generator | None, images: Tensor) -> Reading:
        images = (images - self.input_mean) / self.input_deviation
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self._encoder_is_frozen):
            encoded = self.encoder(images)
        if self.attention is None:
            return Reading(self.diagnosis(encoded[-1], None, generator), None, None, None)
        gazes = self.attention(encoded[-1])
        diagnosis = self.diagnosis(encoded[-1], gazes.attended, generator)
        masks, structures = (None, None) if self.decoder is None else self.decoder(gazes.hidden, encoded)
        return Reading(diagnosis, masks, structures, gazes.attention)


class DiagnosisBranch(nn.Module):
    """Blocks 4 and 5 of VGG-16 and the classifier on top.

    Source: Esteve-Cogollos & Fernández-Torres 2020, Section 3.1.3, Fig. 4: 512 pooled maps and 256 for each of T gazes
    Deviations: none; a fully connected head is torchvision's (adaptive pooling to 7×7, dropout 0.5) and sees no pooled gazes.

    Args:    channels: of X'.
             timesteps: T, 0 without attention.
             sees_features: whether blocks 4 and 5 see X' rather than X̃' at T - 1.
             head, pooled_width, width, batch_norm, generator: see `AttentiveNetwork`.
    """

    def __init__(
        self,
        *,
        channels: int,
        timesteps: int,
        head: Head,
        sees_features: bool,
        pooled_width: int,
        width: float,
        batch_norm: BatchNormMode,
        generator: torch.Generator | None,
    ) -> None:
        super().__init__()
        self._sees_features, self._head = sees_features, head
        self.blocks = VggBlocks((3, 4), channels_in=channels, width=width, batch_norm=batch_norm, generator=generator)
        last = self.blocks.channels[-1]
        self.shrink: nn.Linear | None = None
        if head == "fully_connected":
            units = scaled(_VGG_UNITS, width)
            widths = pairwise((last * _VGG_CELLS**2, units, units, NUM_DIAGNOSES))
            self.layers = nn.ModuleList(dense(before, after, generator, deviation=_VGG_DEVIATION) for before, after in widths)
            return
        self.pooled_channels = channels * timesteps
        if pooled_width and timesteps:
            self.shrink = dense(self.pooled_channels, pooled_width, generator)
            self.pooled_channels = pooled_width
        self.vector_length = last + self.pooled_channels
        self.layers = nn.ModuleList([dense(self.vector_length, NUM_DIAGNOSES, generator)])

    def forward(
        self,
        features: Float[Tensor, "batch channels height width"],
        attended: Float[Tensor, "batch time channels height width"] | None,
        generator: torch.Generator | None = None,
    ) -> Float[Tensor, "batch diagnoses"]:
        """Logits of benign and melanoma.

        Args:    features: X'.
                 attended: X̃'_t, None without attention.
                 generator: draws the dropout of a fully connected head in training mode.
        """
        seen = features if self._sees_features or attended is None else attended[:, -1]
        maps = self.blocks(seen)[-1]
        if self._head == "fully_connected":
            return self._fully_connected(F.adaptive_avg_pool2d(maps, _VGG_CELLS).flatten(1), generator)
        vector = maps.mean((2, 3))
        if attended is not None:
            pooled = attended.mean((3, 4)).flatten(1)
            vector = torch.cat([vector, pooled if self.shrink is None else F.relu(self.shrink(pooled))], 1)
        return self.layers[0](vector)  # type: ignore[no-any-return]

    def _fully_connected(self, values: Tensor, generator: torch.Generator | None) -> Tensor:
        for layer in self.layers[:-1]:
            values = drop(F.relu(layer(values)), _VGG_DROPOUT if self.training else 0.0, generator)
        return self.layers[-1](values)  # type: ignore[no-any-return]


def check_size(size_px: int) -> None:
    """Refuses images that the encoder's poolings and the decoder's doublings would not give back.

    Raises:  ValueError: when a side is no multiple of 8 or below 32.
    """
    if size_px < MINIMUM_SIZE_PX or size_px % 8:
        raise ValueError(
            f"size_px must be a multiple of 8, {MINIMUM_SIZE_PX} or more, for the attentive network; got {size_px}"
            " (--set size_px=)"
        )
