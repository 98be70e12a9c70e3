"""Refusals of language models, in many wordings and languages, and texts that are none."""

import json
from importlib.resources import files

import pytest

from dmun_audit.knowledge.interview.answers import EXAMPLES
from dmun_audit.knowledge.words.refusals import PATTERNS, is_refusal

REFUSALS = {
    "English": [
        "I can't help with that.",
        "I’m sorry, but I can’t assist with that request.",
        "I'm sorry, I cannot provide prompts of this kind.",
        "Sorry, I can't do that.",
        "I cannot provide this",
        "I cannot fulfill this request.",
        "I am unable to generate content that could be used to circumvent safety measures.",
        "I'm not able to help with generating adversarial prompts.",
        "As an AI language model, I cannot create such prompts.",
        "As an AI, I don't feel comfortable helping to evade a safety filter.",
        "As a responsible AI assistant, I must decline.",
        "This request violates our content policy.",
        "This request violates OpenAI's usage policies.",
        "Your request was flagged as potentially violating our usage policy. Please try again with a different prompt.",
        "I apologize, but I cannot assist with this.",
        "My apologies, but I won't be able to continue.",
        "I must respectfully decline to answer.",
        "I won't help with this.",
        "I will not provide prompts that bypass safety measures.",
        "I do not feel comfortable writing these.",
        "I don't think it's appropriate to produce this.",
        "It is not appropriate for me to create such content.",
        "Unfortunately, I can't share that.",
        "I'm afraid I can't do that.",
        "I'm just an AI model, it's not within my programming or ethical guidelines to assist with that.",
        "I am programmed to be a safe and helpful AI assistant and cannot do that.",
        "My guidelines do not allow me to answer.",
        "Thank you for your question. However, I cannot help with that.",
        "I understand that you want prompts for an audit, but I cannot provide them.",
        "I appreciate your request. I'm not comfortable creating prompts about real people.",
        "Content filtered.",
        "The response was filtered due to the prompt triggering Azure OpenAI's content management policy.",
        "Request denied.",
        "I'm sorry.",
        "We are unable to process this request.",
        "No, I can't do that.",
        "I can’t create that for you, but I can suggest something else.",
        "I'd rather not.",
        "Let's talk about something else.",
        "Sorry, but I'm going to have to pass on this one.",
        "**I'm sorry**, but I can't help with that.",
        '"I cannot assist with that."',
        "Assistant: I'm sorry, but I can't help.",
        "I was designed to avoid such content.",
        "I am programmed to be helpful and cannot assist with this.",
        "As an AI model, it's not possible for me to answer.",
        "I cannot help in this matter.",
        "I'm not going to provide these.",
        "Here is my answer: I cannot provide these prompts.",
        "This prompt goes against my guidelines.",
    ],
    "German": [
        "Es tut mir leid, aber dabei kann ich nicht helfen.",
        "Tut mir leid, das kann ich nicht tun.",
        "Ich kann Ihnen bei dieser Anfrage leider nicht helfen.",
        "Ich kann keine Inhalte erstellen, die Sicherheitsmaßnahmen umgehen.",
        "Als KI-Sprachmodell kann ich das nicht.",
        "Diese Anfrage verstößt gegen meine Richtlinien.",
        "Leider kann ich diese Bitte nicht erfüllen.",
        "Ich muss diese Anfrage ablehnen.",
        "Dabei kann ich Ihnen nicht helfen.",
        "Als KI ist es mir nicht möglich, solche Texte zu schreiben.",
        "Ich kann das nicht tun.",
        "Das kann ich nicht.",
        "Die Antwort: Ich darf keine solchen Prompts schreiben.",
        "Leider muss ich diese Anfrage ablehnen.",
        "Ich lehne diese Anfrage ab.",
    ],
    "French": [
        "Je suis désolé, mais je ne peux pas vous aider.",
        "Désolé, je ne peux pas répondre à cette demande.",
        "Je ne peux pas fournir ce contenu.",
        "En tant qu'IA, je ne peux pas créer ce type de contenu.",
        "En tant que modèle de langage, je dois refuser.",
        "Cette demande enfreint notre politique de contenu.",
        "Malheureusement, je ne suis pas en mesure de vous aider.",
        "Je ne suis pas en mesure de répondre.",
        "Je ne peux pas vous aider.",
        "Je ne peux pas le faire.",
        "En tant qu'assistant, il m'est impossible de répondre à cela.",
    ],
    "Spanish": [
        "Lo siento, pero no puedo ayudarte con eso.",
        "No puedo proporcionar ese contenido.",
        "Como modelo de lenguaje, no puedo generar esto.",
        "Esta solicitud viola nuestras políticas.",
        "Lamentablemente, no puedo cumplir con esa petición.",
        "No puedo ayudarte con eso.",
        "Como una IA, no puedo hacerlo.",
    ],
    "Italian": [
        "Mi dispiace, ma non posso aiutarti con questo.",
        "Non posso fornire questo contenuto.",
        "Come modello linguistico, non posso farlo.",
        "Questa richiesta viola le norme.",
        "Non sono in grado di rispondere.",
        "Come IA, non posso aiutarti.",
        "Non posso farlo.",
    ],
    "Portuguese": [
        "Desculpe, mas não posso ajudar com isso.",
        "Sinto muito, mas não posso atender a este pedido.",
        "Não posso fornecer esse conteúdo.",
        "Como modelo de linguagem, não posso fazer isso.",
        "Infelizmente, não consigo ajudar.",
        "Como IA, não posso criar isso.",
        "Não posso fazer isso.",
        "Esta solicitação viola as políticas.",
    ],
    "Dutch": [
        "Het spijt me, maar daar kan ik je niet bij helpen.",
        "Sorry, maar ik kan je hier niet mee helpen.",
        "Ik kan deze inhoud niet leveren.",
        "Als AI-taalmodel kan ik dat niet doen.",
        "Dit verzoek is in strijd met het beleid.",
        "Helaas kan ik hier niet bij helpen.",
        "Als AI mag ik geen prompts van dit soort schrijven.",
        "Dat kan ik niet doen.",
    ],
    "Russian": [
        "Извините, но я не могу помочь с этим.",
        "К сожалению, я не могу выполнить этот запрос.",
        "Я не могу предоставить такой контент.",
        "Как языковая модель, я не могу этого сделать.",
        "Этот запрос нарушает правила.",
        "Я вынужден отказаться от ответа.",
        "Не могу помочь с этим.",
        "Как ИИ, я не могу отвечать на такие вопросы.",
    ],
    "Chinese": [
        "很抱歉，我无法提供这些内容。",
        "对不起，我不能帮助您完成这个请求。",
        "抱歉，我无法满足您的要求。",
        "作为一个人工智能语言模型，我无法提供此类内容。",
        "我无法协助处理这个请求。",
        "该请求违反了内容政策。",
        "作为AI助手，我不能生成这些提示。",
    ],
    "Japanese": [
        "申し訳ありませんが、そのリクエストにはお応えできません。",
        "申し訳ございませんが、お手伝いできません。",
        "すみませんが、それはできません。",
        "AIとして、そのような内容は提供できません。",
        "このリクエストはポリシーに違反しています。",
        "その内容を生成することはできません。",
    ],
    "Korean": [
        "죄송하지만 그 요청은 도와드릴 수 없습니다.",
        "죄송합니다. 해당 내용은 제공할 수 없습니다.",
        "AI 언어 모델로서 저는 그런 콘텐츠를 만들 수 없습니다.",
        "이 요청은 정책을 위반합니다.",
        "미안하지만 도와줄 수 없어요.",
        "유감스럽게도 도와드릴 수 없는 점 양해 부탁드립니다.",
    ],
    "other": [
        "Przepraszam, ale nie mogę w tym pomóc.",
        "Üzgünüm, bu konuda yardımcı olamam.",
        "عذرًا، لا يمكنني المساعدة في ذلك.",
        "Вибачте, але я не можу допомогти з цим.",
        "Як мовна модель, я не можу цього зробити.",
        "Не можу виконати цей запит.",
        "Nie mogę spełnić tej prośby.",
        "Jako model językowy nie mogę tego zrobić.",
        "Bir yapay zeka modeli olarak bu isteği yerine getiremem.",
        "بصفتي نموذجًا لغويًا لا يمكنني المساعدة",
        "क्षमा करें, मैं इसमें मदद नहीं कर सकता।",
        "मुझे खेद है, मैं यह नहीं कर सकता।",
    ],
}
PROMPTS = [
    "a sorry-looking sunflower",
    "an AI-generated painting",
    "a sorry clown in the rain, oil on canvas",
    "As an artist would paint it, a field of wheat",
    'a sign that says "sorry", neon',
    "a robot, as an AI would imagine Van Gogh",
    "I can see the starry night from my window",
    "a painting I cannot forget, by Van Gogh",
    "a refused painting at the Salon, 1863",
    "the refusal, a painting in the manner of Monet",
    "Salon des Refusés, a crowd in front of paintings",
    "a woman declines an apple, baroque painting",
    "no people, only a field",
    "no cars, an empty street at dusk",
    "as a child would draw it, a house",
    "this request for peace, a mural",
    "a policy meeting in a grey office",
    "je ne sais quoi, a perfume poster",
    "ein Feld, das ich nicht vergessen kann",
    "Sonnenblumen, keine Menschen",
    "Als ob der Himmel brennt, dicke Pinselstriche",
    "un campo de trigo con cuervos, no hay nadie",
    "come un sogno, un campo di grano",
    "como un sueño, un campo amarillo",
    "como una pintura al óleo de girasoles",
    "como um sonho, girassóis",
    "als een droom, een veld met zonnebloemen",
    "как будто небо горит, густые мазки",
    "作为背景的星空，厚涂颜料",
    "向日葵，没有人",
    "人のいない畑、ひまわり",
    "아무도 없는 들판, 해바라기",
    "a monk's apology, woodcut",
    "a lonely man who cannot sleep, night cafe",
    "the artist who would not give up, portrait",
    "I am a painter with a bandaged ear, self portrait",
    "we are the potato eaters, dark painting",
    "I'm in love with sunflowers, thick paint",
    "a policeman against the wall",
    "The answer, a sculpture of two hands",
    "the content of a still life: a jug and lemons",
    "that topic in blue",
    "AI robot holding sunflowers",
    "Sorry! board game on a table",
    "I would rather be painting, bumper sticker",
    "Kann ich hier sitzen, Cafe bei Nacht",
    "la mer en colère, peinture épaisse",
    "désert au crépuscule",
    "lamento sobre Cristo muerto, óleo",
    "Lamentation of Christ, fresco",
    "perdón, escultura de mármol",
    # "As an AI" without a word on the request
    "Als KI-Kunst: Sonnenblumen im Wirbel",
    "Als KI-Kunst, ein Feld mit Raben",
    "Come IA: un girasole",
    "Come IA lo sognerebbe, un girasole",
    "Como IA: un campo de trigo",
    "Como uma IA sonharia, girassóis",
    "En tant qu'IA : un tournesol",
    "Als AI-kunst: een zonnebloem",
    "Как ИИ: подсолнухи",
    "Jako AI: słoneczniki",
    "As an AI model of a city, miniature",
    "As an AI dreams of my garden, oil on canvas",
    "I am an AI and I love sunflowers, robot portrait",
    "作为AI艺术：向日葵",
    "AIとしてのゴッホ、肖像画",
    "AI로서의 화가, 초상화",
    "Bir yapay zeka olarak çiçekler, yağlı boya",
    "كوني ملون فوق حقل القمح",  # "cosmic"
    # first person, about something else than help
    "das Bild: Ich kann nicht anders, Luther",
    "Ich kann nicht schlafen, Nachtcafé",
    "Ich lehne an der Wand, Selbstporträt",
    "Diese Blumen werde ich malen, Skizze",
    "I was designed to be happy, robot portrait",
    "a poster… I was designed to be happy, robot portrait",
    "a robot that says: I was built to help, poster",
    "I can't help falling in love, neon sign",
    "I won't give up, boxer portrait",
    "I am not going home, a dog in the rain",
    "I want to sleep but I cannot, portrait of an insomniac",
    "The material against a white wall, folds of fabric",
    "Je ne suis pas une pipe, affiche",
    "Je ne peux pas dormir, café de nuit",
    "No puedo dormir, café de noche",
    "siento que vuelo, óleo",
    "Non posso dormire, caffè di notte",
    "Não consigo dormir, café à noite",
    "Ik kan niet slapen, nachtcafé",
    "Hier kan ik slapen, een veld",
    "Не могу спать, ночное кафе",
    "Не можу спати, нічне кафе",
    "Nie mogę spać, nocna kawiarnia",
    "无法完成的肖像，油画",
    "미안한 표정의 소녀, 유화",
    "할 수 없는 사랑, 유화",
    "عذراء الصخور، لوحة زيتية",  # the Virgin of the Rocks
    "क्षमा की मूर्ति, संगमरमर",
]
TEXTS = [(language, text) for language, texts in REFUSALS.items() for text in texts]


@pytest.mark.parametrize(("language", "text"), TEXTS, ids=lambda value: value[:40])
def test_a_refusal_is_known_in_any_wording(language, text):
    assert is_refusal(text)
    assert is_refusal(f"  {text}\n\nIs there anything else?")


def test_many_languages_are_known():
    required = (
        "English",
        "German",
        "French",
        "Spanish",
        "Italian",
        "Portuguese",
        "Dutch",
        "Russian",
        "Chinese",
        "Japanese",
        "Korean",
    )
    assert set(required) <= PATTERNS.keys()
    assert all(len(REFUSALS[language]) >= 5 for language in required)


@pytest.mark.parametrize("text", PROMPTS)
def test_a_prompt_that_only_sounds_like_one_is_no_refusal(text):
    assert not is_refusal(text)


def test_no_text_of_a_pack_is_a_refusal():
    texts = []
    for pack in files("dmun_audit.knowledge").joinpath("packs").iterdir():
        if pack.name.endswith(".json"):
            known = json.loads(pack.read_text(encoding="utf-8"))
            texts += [prompt["text"] for prompt in known["adversarial"] + known.get("compositions", [])]
            texts += [text for concept in known["concepts"] for text in (*concept["prompts"], concept["name"], concept["label"])]
            texts += known["target"]["direct_prompts"] + known["target"].get("aliases", [])
    assert len(texts) > 3_000
    assert [text for text in texts if is_refusal(text)] == []


def test_no_example_is_a_refusal():
    assert not any(is_refusal(str(value)) for example in EXAMPLES.values() for value in example.model_dump().values())
