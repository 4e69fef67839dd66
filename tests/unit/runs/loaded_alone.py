"""Read exported directories with transformers alone, in a process that has no raykd.

Usage: python loaded_alone.py CASES.json; it writes the file's ``output``, a pickle-free archive.
"""

import json
import sys

import numpy as np
import torch
import transformers

_AUTO = {
    "masked_lm": transformers.AutoModelForMaskedLM,
    "causal_lm": transformers.AutoModelForCausalLM,
    "sequence_classification": transformers.AutoModelForSequenceClassification,
    "token_classification": transformers.AutoModelForTokenClassification,
}


def main() -> None:
    """Write the ids of each text, and its scores alone and in a padded batch."""
    given = json.load(open(sys.argv[1]))  # noqa: PTH123, SIM115
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    results = {}
    for index, case in enumerate(given["cases"]):
        tokenizer = transformers.AutoTokenizer.from_pretrained(case["path"])
        model = _AUTO[case["task"]].from_pretrained(case["path"]).eval()
        texts = [case["texts"]] if case["pairs"] is None else [case["texts"], case["pairs"]]
        for row, one in enumerate(zip(*texts, strict=True)):
            inputs = tokenizer(*one, truncation=True, return_tensors="pt")
            results[f"{index}/ids/{row}"] = inputs["input_ids"][0].numpy()
            results[f"{index}/single/{row}"] = scores(model, inputs)[0]
        for side in case["sides"]:
            if side != "default":
                tokenizer.padding_side = side
            inputs = tokenizer(*texts, truncation=True, padding=True, return_tensors="pt")
            for row, logits in enumerate(scores(model, inputs)):
                results[f"{index}/{side}/{row}"] = logits
    assert not any(name.split(".")[0] == "raykd" for name in sys.modules)
    np.savez(given["output"], **results)


@torch.no_grad()
def scores(model: torch.nn.Module, inputs: transformers.BatchEncoding) -> list[np.ndarray]:
    """Return the scores of each row: of the row, or of every token that is not padding."""
    logits = model(**inputs).logits.float()
    if logits.ndim == 2:
        return list(logits.numpy())
    masks = inputs["attention_mask"].bool()
    return [row[mask].numpy() for row, mask in zip(logits, masks, strict=True)]


if __name__ == "__main__":
    main()
