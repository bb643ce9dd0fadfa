"""A prompt head that is moved to other embeddings."""

import torch
import torch.nn.functional as F

from lexiseg_model.methods.tiny.network import EMBEDDING
from lexiseg_model.methods.tiny.prompt_head import PromptHead
from lexiseg_model.methods.tiny.prompt_maps import clicks
from lexiseg_train.methods.tiny.realign import fit_map, realign


def test_a_realigned_head_answers_turned_embeddings_as_before() -> None:
    torch.manual_seed(0)
    head = PromptHead().eval()
    turn = torch.linalg.qr(torch.randn(EMBEDDING, EMBEDDING)).Q
    old = F.normalize(torch.randn(1, EMBEDDING, 16, 16), dim=1)
    new = torch.einsum("ij,bjhw->bihw", turn, old)
    guide, points = torch.randn(1, 3, 32, 32), clicks(torch.tensor([[[20.0, 30.0]]]))
    before = head.click_masks(head.shared(old, guide), points)

    cells = F.normalize(torch.randn(2000, EMBEDDING), dim=1)
    realign(head, fit_map(cells @ turn.mT, cells))

    after = head.click_masks(head.shared(new, guide), points)
    torch.testing.assert_close(after.masks, before.masks, rtol=0.01, atol=0.01)
    torch.testing.assert_close(after.quality, before.quality, rtol=0.01, atol=0.01)
