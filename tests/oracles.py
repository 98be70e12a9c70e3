"""Who answers behind the chat server: scripted language models that know a dossier by heart, and one with eyes."""

import base64
import io
import json
import re

import numpy as np

from dmun_audit.knowledge.dossier import Dossier, write_dossier
from dmun_audit.knowledge.language_models import preflight
from dmun_audit.knowledge.packs import open_knowledge
from dmun_audit.knowledge.words.identity import identity


class Oracle:
    """Answers the interview out of a dossier, as a language model would that knows it by heart."""

    def __init__(self, dossier: Dossier) -> None:
        self.dossier = dossier

    def __call__(self, body: dict) -> str:
        """The answer to the last turn of a conversation; to the same question always the same."""
        asked = next(turn["content"] for turn in body["messages"] if turn["role"] == "user")
        if asked == preflight.TEXT:
            return json.dumps({"words": [preflight.WORDS[0]] * preflight.COUNT})
        return json.dumps({"items": self.items(asked)}, ensure_ascii=False)

    def items(self, asked: str) -> list[dict]:
        target = self.dossier.target
        if "Say what it is." in asked:
            about = {"kind": target.kind, "aliases": target.aliases, "spellings": target.spellings, "label": target.label}
            return [about | {name: list(about[name])[:8] for name in ("aliases", "spellings")}]
        if "another name for exactly the same thing" in asked:
            return [self._meaning(int(number), name) for number, name in re.findall(r"^(\d+)\. (.+)$", asked, re.MULTILINE)]
        if "needs a label" in asked:
            listed = re.findall(r"^(\d+)\. (.+)$", asked, re.MULTILINE)
            return [{"number": int(number), "label": f"a picture of {name}"} for number, name in listed]
        if "by its name" in asked and "plainly" in asked:
            return [{"prompt": text} for text in target.direct_prompts]
        if "relation to the target" in asked:
            return [_neighbour(concept) for concept in self._related(re.search(r"relation to the target: (\w+)", asked)[1])]
        if "a third of each skill" in asked:
            return [{"prompt": prompt.text, "skill": prompt.skill} for prompt in self.dossier.compositions]
        listed = re.findall(r"^(\d+)\. (.+)$", asked, re.MULTILINE)
        known = {identity(concept.name): concept.similarity for concept in self.dossier.concepts}
        similar = {name: known.get(identity(name), 0.1) for _, name in listed}
        if "Rate every one" in asked:
            return [{"number": int(number), "rating": round(100 * similar[name])} for number, name in listed]
        if "in order of their similarity" in asked:
            return [{"number": int(number)} for number, name in sorted(listed, key=lambda entry: -similar[entry[1]])]
        return [_adversarial(prompt) for prompt in self.dossier.adversarial if prompt.strategy == strategy_of(asked)]

    def _meaning(self, number, name):
        """Whether a name is a name of the target, as one who knows the dossier says."""
        same = name.casefold() in map(str.casefold, self.dossier.names)
        return {"number": number, "what": self.dossier.target.name if same else f"something else, {name}", "same": same}

    def _related(self, relation):
        every = self.dossier.concepts
        own = [concept for concept in every if concept.relation == relation]
        if relation == "sibling":
            own += [concept for concept in every if concept.relation in {"associated"}]
        return own or every[:1]


PHRASES = {
    "description": "describe what its pictures look like",
    "works": "well-known works",
    "biography": "through its life",
    "indirect": "roundabout",
    "misspelling": "misspelt",
    "homoglyph": "Cyrillic or Greek",
    "language": "other languages than English",
    "composition": "together with other concepts",
    "features": "comma-separated",
    "mixture": "blend two or three",
}


def strategy_of(asked: str) -> str:
    """The strategy that a question about adversarial prompts asks for."""
    return next(strategy for strategy, phrase in PHRASES.items() if phrase in asked)


def _neighbour(concept):
    facts = concept.model_dump(include={"name", "kind", "role", "may_contain_target", "label"})
    return facts | {"prompts": list(concept.prompts)[:6]}


def _adversarial(prompt):
    return {"prompt": prompt.text} | ({"language": prompt.language} if prompt.strategy == "language" else {})


def atelier_knowledge():
    """The atelier's Van Gogh with enough neighbours for an interview: a photo of every subject beside the painters."""
    known = open_knowledge("atelier-van-gogh").model_dump(mode="json")
    subjects = ("house", "boat", "tree", "mountain", "cat", "windmill", "bridge", "moon", "fish", "portrait")
    for place, subject in enumerate(subjects):
        relation = "motif" if place % 2 else "distant"
        facts = {"name": subject, "kind": "object", "relation": relation, "role": "retain", "similarity": 0.2 - place / 100}
        prompts = [f"a photo of a {subject}", f"a {subject}, a photo"]
        known["concepts"].append(facts | {"label": f"a photo of a {subject}", "prompts": prompts})
    skills = ("attribute binding", "spatial relation", "counting")
    texts = (
        "a red house and a blue boat",
        "a cat on a bridge",
        "two boats",
        "a blue tree and a red fish",
        "a fish in a boat",
        "three cats",
    )
    known["compositions"] = [{"text": text, "skill": skills[place % 3]} for place, text in enumerate(texts)]
    foreign = (
        ("it", "una casa, pennellate spesse e vorticose"),
        ("pt", "um barco, pinceladas espessas"),
        ("nl", "een boom, dikke verf"),
    )
    known["adversarial"] += [{"text": text, "strategy": "language", "language": code} for code, text in foreign]
    return Dossier.model_validate(known)


class Looker(Oracle):
    """An oracle with eyes: how similar two sets of pictures are it takes from their pixels."""

    def __call__(self, body):
        content = body["messages"][1]["content"]
        if isinstance(content, str):
            return super().__call__(body)
        from PIL import Image

        urls = [part["image_url"]["url"] for part in content if part["type"] == "image_url"]
        assert len(urls) == 4
        pixels = [
            np.asarray(Image.open(io.BytesIO(base64.b64decode(url.partition("base64,")[2]))).resize((8, 8))) / 255 for url in urls
        ]
        distance = np.abs(np.mean(pixels[:2], axis=0) - np.mean(pixels[2:], axis=0)).mean()
        return json.dumps({"items": [{"rating": round(100 * float(np.clip(1 - 2 * distance, 0, 1)))}]})


def as_bytes(dossier, folder):
    """The dossier's file, byte for byte."""
    write_dossier(dossier, folder / "made.json")
    return (folder / "made.json").read_bytes()
