"""Refusals of language models, in any wording and in many languages.

A refusal speaks in the first person of the request or of help, or speaks about the request; a prompt for an image names what the
image shows. The patterns keep to that. "I cannot" is a refusal before a verb of helping ("provide", "answer") and not before
another one ("sleep"). "As an AI" is one where the same sentence goes on in the first person and denies something.
"""

from __future__ import annotations

import re
import unicodedata

LONGEST_LEAD = 600  # characters at the start of a text in which a refusal is looked for

_ENGLISH_VERBS = (
    r"(?:help(?! (?:but|\w+ing)\b)|assist|aid|provide|create|generate|fulfil+|comply|continue|answer|do (?:that|this|it|so)\b|"
    r"support|engage|produce|write|"
    r"offer|discuss|give(?! (?:up|in)\b)|share|suggest|participate|proceed|respond|complete|accommodate|facilitate|supply|"
    r"process|satisfy|honou?r|"
    r"be (?:of|able)|go (?:along|ahead|further)|carry out|take part|draft|compose|propose|recommend|encourage|promote|in good|"
    r"(?:make|describe|depict|imitate|name|list|show|reproduce|say|use) (?:this|that|these|those|such|any|prompts|the (?:artist|"
    r"target|prompt)))"
)
_GERMAN_VERBS = (
    r"(?:(?:weiter)?helfen|behilflich|unterstützen|bereitstellen|erstellen|erzeugen|generieren|liefern|geben|anbieten|machen|tun|"
    r"(?:be)?antworten|erfüllen|ausführen|bearbeiten|nachkommen|entsprechen|fortfahren|schreiben|verfassen|formulieren|"
    r"vorschlagen|"
    r"zeigen|darstellen|abbilden|nachahmen|imitieren|kommentieren|nennen|mitmachen|teilnehmen|diskutieren|sprechen|dienen|unternehmen|umgehen|teilen|"
    r"stellen|übernehmen|anzeigen|beschreiben|sagen)\b"
)
_FRENCH_VERBS = (
    r"(?:(?:vous|te|t'|le|la|les|l'|y|en|cela|ça|me|\w+ment) ?){0,2}(?:aider|assister|répondre|fournir|créer|générer|produire|"
    r"écrire|"
    r"rédiger|donner|proposer|faire|accéder|satisfaire|continuer|poursuivre|participer|accepter|suggérer|offrir|traiter|exécuter|"
    r"réaliser|discuter|partager|permettre|décrire|représenter|imiter|montrer|commenter|parler)\b"
)
_SPANISH_VERBS = (
    r"(?:ayudar|asistir|proporcionar|ofrecer|crear|generar|producir|escribir|redactar|dar|responder|contestar|cumplir|hacer|"
    r"continuar|"
    r"participar|sugerir|proponer|atender|procesar|facilitar|realizar|completar|compartir|hablar|seguir|describir|representar|imitar|mostrar|discutir|comentar)(?:te|le|les|os|lo|la|"
    r"nos)*\b"
)
_ITALIAN_VERBS = (
    r"(?:aiutar|assister|fornir|crear|generar|produrr|scriver|dar|risponder|soddisfar|far|continuar|partecipar|suggerir|proporr|"
    r"elaborar|offrir|eseguir|completar|condivider|accettar|proceder|parlar|descriver|rappresentar|imitar|mostrar|discuter|commentar)(?:e|ti|vi|la|le|lo|li|ne|telo|velo|tela)*\b"
)
_PORTUGUESE_VERBS = (
    r"(?:(?:lhe|te|o|a|isso) )?(?:ajud|auxili|fornec|cri|ger|produz|escrev|redig|dar|respond|atend|cumpr|faz|continu|particip|"
    r"suger|"
    r"propor|process|oferec|realiz|complet|compartilh|fal|prossegu|descrev|represent|imit|mostr|discut|coment)\w*"
)
_DUTCH_VERBS = (
    r"(?:helpen|bieden|verstrekken|leveren|maken|genereren|schrijven|geven|(?:be)?antwoorden|voldoen|doen|doorgaan|meewerken|"
    r"deelnemen|"
    r"voorstellen|uitvoeren|verwerken|ondersteunen|delen|bespreken|beschrijven|afbeelden|nabootsen|imiteren|tonen|laten zien)\b"
)
_RUSSIAN_VERBS = (
    r"(?:\w+ ){0,3}(?:опис\w+|изобра\w+|показ\w+|подража\w+|имитир\w+|обсуд\w+|подел\w+|помо[гч]\w*|предостав\w+|созда\w+|сгенерир\w+|генерир\w+|выполн\w+|ответ\w+|отвеч\w+|сдела\w+|делать|"
    r"написа\w+|писать|предлож\w+|продолж\w+|обсужда\w+|участв\w+|дать|поддерж\w+|обработа\w+|удовлетвор\w+)"
)
_UKRAINIAN_VERBS = (
    r"(?:\w+ ){0,3}(?:опис\w+|зобра\w+|показ\w+|імітув\w+|обговор\w+|поділ\w+|"
    r"допомог\w+|надат\w+|надава\w+|створ\w+|викон\w+|відпов\w+|зроб\w+|згенер\w+|напис\w+|запропон\w+|продовж\w+)"
)
_POLISH_VERBS = (
    r"(?:\w+ ){0,3}(?:pom[óo]\w+|dostarcz\w+|udzieli\w+|stworzy\w+|tworzy\w+|wygenerow\w+|generow\w+|odpowie\w+|spełni\w+|"
    r"zrobi\w+|"
    r"napisa\w+|poda\w+|kontynuow\w+|wykona\w+|zrealizow\w+|zaproponow\w+|opis\w+|przedstawi\w+|naśladow\w+|pokaz\w+|rozmawi\w+|omawi\w+|udostępni\w+)"
)
_WITHIN = r"[^.:!?\n]{0,120}"  # of one sentence
_AI = r"(?:ai|a\.i\.|artificial intelligence|(?:large )?language model|llm|chatbot|virtual assistant)"

PATTERNS: dict[str, tuple[str, ...]] = {
    "English": (
        r"(?:i|we) (?:prefer|choose|opt|wish) not to\b",
        r"(?:i|we) (?:do not|don't) have the (?:ability|permission|right)\b",
        r"(?:my )?apologies[,.]? (?:but|i|that|this)\b",
        r"(?:prompt|request|content|message|output) (?:was |has been )?blocked\b",
        r"(?:i|we) (?:cannot|can't|won't|will not) (?:and|or) (?:cannot|can't|won't|will not)\b",
        rf"(?:but |however,? |and |so |therefore,? )?(?:i|we) (?:really |simply |just |respectfully |unfortunately |"
        rf"regretfully )?"
        rf"(?:cannot|can't|can not|could not|couldn't|won't|will not|would not|wouldn't|shouldn't|should not|may not|must not) "
        rf"(?:\w+ly |in good conscience )?{_ENGLISH_VERBS}",
        r"(?:i|we)(?:'m| am|'re| are) (?:\w+ )?(?:unable|not able|not allowed|not permitted|not comfortable|not going to|"
        r"not in a position|"
        r"not (?:programmed|designed|authori[sz]ed))\b",
        r"(?:i|we)(?:'m| am|'re| are) (?:\w+ )?sorry\b(?:[.!]?$|[,.]? (?:but|however|i|we|this|that|your|the request|for)\b)",
        r"sorry[,.!]? (?:but|however|i (?:can|am|won)|i'm|we (?:can|are)|this (?:request|is)|that (?:request|is)|no can do|"
        r"your request|"
        r"about that)\b",
        r"(?:i'm |i am )?(?:very |so )?sorry[.!]?$",
        r"(?:i|we|my|our) (?:sincere(?:ly)? )?apolog(?:i[sz]e|ies)\b",
        r"i(?:'m| am) afraid (?:that )?(?:i|we|this|that)\b",
        rf"(?:as|being|since i am|because i am) an? (?:\w+ )?{_AI}\b{_WITHIN}\b(?:i|we|my|it is|it's|this request)\b{_WITHIN}"
        rf"(?:\b(?:not|cannot|unable|decline|refuse|pass|no)\b|n't\b|programm|designed|guidelines|scope)",
        rf"i(?:'m| am)(?: just| only)? an? (?:\w+ )?{_AI}\b{_WITHIN}(?:\b(?:not|cannot|unable|decline|refuse)\b|n't\b)",
        r"(?:i|we)(?:'ll| will|'d| would)? ?(?:must|have to|need to|going to|rather|prefer to)? ?(?:respectfully |politely |"
        r"kindly )?"
        r"(?:decline|refuse)\b",
        r"(?:i|we) (?:must|have to|need to|would rather|'d rather|prefer to) (?:respectfully |politely )?(?:pass|not)\b",
        rf"(?:i|we) (?:do not|don't) (?:feel comfortable|think (?:it|this|that)|(?:\w+ly )?{_ENGLISH_VERBS})",
        r"(?:this|that|your|the|such)(?: an?)? (?:\w+ )?(?:request|prompt|question|query|content|topic|task|"
        r"material)s? (?:\w+ ){0,3}"
        r"(?:violat\w+|go(?:es)? against|against (?:my|our|the rules|policy)|conflicts? with|breach\w*|contraven\w+|not (?:be )?(?:allowed|"
        r"permitted|appropriate|"
        r"something)|(?:been )?(?:blocked|flagged|rejected|filtered|refused|denied)|cannot be|can't be|inappropriate|unsafe|"
        r"harmful)",
        r"(?:this|that|it)(?:'s| is| would be) (?:not (?:appropriate|ethical|possible|something (?:i|we))|inappropriate|"
        r"unethical|against "
        r"(?:my|our|the))",
        r"unfortunately,? (?:i|we|this|that|your|it)\b[^.]{0,60}(?:can't|cannot|unable|not|isn't|violat\w+)\b",
        r"(?:my|our) (?:\w+ )?(?:guidelines|programming|policies|policy|training|principles|values)\b[^.]{0,40}\b(?:not|prevent|"
        r"prohibit|forbid|"
        r"restrict|don't)",
        r"(?:i|we) (?:was|were|am|are|have been) (?:designed|programmed|trained|instructed|built) (?:not to\b|to (?:avoid|"
        r"decline|refuse|"
        rf"not)\b|to {_WITHIN}(?:cannot|can't|won't|will not|unable to|not able to) {_ENGLISH_VERBS})",
        r"(?:the )?(?:content|response|answer|output|request) (?:was |is |has been )?(?:filtered|blocked|refused|withheld|denied|"
        r"rejected)",
        r"(?:refused|refusal|declined|request denied|access denied|cannot comply|can't comply|refusing to answer)\.?$",
        r"(?:i|we)(?:'m| am|'re| are) (?:going to )?(?:declin|refus)(?:e|ing)\b",
        r"no,? i (?:can't|won't|cannot|will not)\b",
        r"let'?s talk about something else",
        r"(?:i|we|while|although|thank)\b[^.!?\n]{0,160}\b(?:but|however),? (?:unfortunately,? )?(?:i|we)(?:'m| am| must|"
        r" have to)? "
        rf"(?:(?:cannot|can't|can not|won't|will not) (?:\w+ly )?{_ENGLISH_VERBS}|(?:not able|unable|not comfortable|decline|"
        rf"refuse)\b)",
        r"(?:i|we)(?:'d| would) rather not\b",
    ),
    "German": (
        r"das geht (?:leider )?nicht[.!]?$",
        rf"(?:ich|wir) (?:verweigere|verweigern|lehnen?{_WITHIN}\bab)\b",
        r"(?:es )?tut mir (?:sehr |wirklich )?leid",
        r"(?:ich|wir) (?:kann|darf|werde|möchte|will|könnte|können|dürfen|werden) (?:[^.]{0,60} )?(?:nicht|keine?[nrms]?|"
        r"nichts)\b"
        rf"(?:{_WITHIN}\b{_GERMAN_VERBS}|[.!]?$)",
        r"(?:leider|das|dabei|diese|dies|hierbei|dazu|darauf|damit)\b[^.]{0,40}\b(?:kann|darf|können|dürfen|werde) (?:ich|wir)\b"
        rf"{_WITHIN}\b(?:nicht|keine?[nrms]?|nichts)\b(?:{_WITHIN}\b{_GERMAN_VERBS}|[.!]?$)",
        r"(?:leider|daher|deshalb) (?:muss|müssen) (?:ich|wir)\b[^.]{0,40}(?:ablehnen|absagen|verweigern|passen)",
        r"(?:ich|wir) (?:bin|sind) (?:leider )?(?:nicht (?:in der lage|befugt|berechtigt)|außerstande)",
        r"(?:ich|wir) (?:muss|müssen|lehne|bitte um (?:verständnis|entschuldigung))\b[^.]{0,40}(?:ab|ablehnen|verständnis|"
        r"entschuldigung)",
        r"(?:entschuldigung|entschuldigen sie|verzeihung)[,.!]? (?:bitte, )?(?:aber|doch|ich|das|dabei)\b",
        rf"als (?:\w+ )?(?:ki|künstliche intelligenz|sprachmodell|assistent)\b{_WITHIN}\b(?:ich|mir|wir|uns|mein\w*)\b{_WITHIN}\b"
        r"(?:nicht|kein\w*|nichts|ablehnen|verweiger\w+|außerstande|untersagt|verboten)\b",
        r"(?:diese|ihre|deine|die) (?:anfrage|anforderung|frage|bitte|aufgabe)\b[^.]{0,30}(?:verstößt|verletzt|widerspricht|"
        r"abgelehnt|blockiert|gefiltert|nicht)",
    ),
    "French": (
        r"(?:navrée?s?|pardon|excusez-moi)[,.]? (?:mais|je|nous)\b",
        r"je préfère ne pas\b",
        r"(?:je suis|nous sommes) (?:vraiment |sincèrement |profondément )?désolée?s?\b",
        r"désolée?s?[,.!]? (?:mais|je|nous|de ne)\b",
        r"(?:mais )?(?:je|nous) (?:ne |n')(?:peux|puis|pourrai|pourrais|veux|vais|pouvons|dois) (?:malheureusement )?(?:pas|rien)"
        rf"(?: {_FRENCH_VERBS}|[.!]?$)",
        r"(?:mais )?(?:je|nous) ne (?:suis|sommes) (?:malheureusement )?pas (?:en mesure|autoris|capable|habilit|programm|conçu|"
        r"à l'aise)",
        r"je ne saurais\b",
        r"(?:malheureusement|hélas|je regrette)[, ][^.]{0,40}\b(?:ne|n'|pas)",
        rf"en tant qu(?:e |')(?:\w+ )?(?:ia|intelligence|assistant|modèle)\b{_WITHIN}\b(?:je\b|j'|me\b|m'|nous\b|mes\b|"
        rf"mon\b){_WITHIN}\b"
        r"(?:pas|refuser?|décliner?|impossible|interdit)\b",
        r"(?:cette|votre|la|ta) (?:demande|requête|question)\b[^.]{0,30}(?:enfreint|viole|contrevient|contraire|encontre|ne )",
        r"(?:il m'est|il nous est) (?:malheureusement )?impossible\b",
        r"je (?:dois |préfère |me vois (?:contrainte? de )?)?(?:refuse|refuser|décliner|décline)\b",
        r"je m'excuse\b",
    ),
    "Spanish": (
        r"(?:perdona|perdone|siento|lamento) (?:no|mucho)\b|lamento que\b|(?:perdona|perdone)[,.] (?:pero|no)\b",
        r"prefiero no\b",
        r"(?:lo siento|lo lamento|me temo)\b",
        r"(?:disculpa|disculpe|perdón)[,.]? (?:pero|no|yo)\b",
        r"(?:pero |lamentablemente,? |desafortunadamente,? )?(?:yo )?no (?:me es posible|estoy (?:autorizad|en condiciones|"
        r"capacitad)|"
        rf"soy capaz|(?:puedo|podemos|podré|voy a)(?: {_SPANISH_VERBS}|[.!]?$))",
        rf"como (?:(?:una|un) )?(?:\w+ )?(?:ia|inteligencia artificial|modelo de lenguaje|asistente)\b{_WITHIN}\b"
        r"(?:no (?:puedo|podemos|me|estoy|soy|tengo|debo)|debo|tengo que|rechazo)\b",
        r"(?:esta|tu|su|la|esa) (?:solicitud|petición|pregunta|consulta)\b[^.]{0,30}(?:viola|infringe|en contra|incumple|no )",
        r"(?:debo|tengo que) (?:rechazar|negarme|declinar)",
    ),
    "Italian": (
        r"(?:mi dispiace|mi spiace|sono spiacente|spiacente|chiedo scusa|mi scuso)\b",
        r"(?:ma |purtroppo,? )?(?:io )?non (?:sono (?:in grado|autorizzat)|mi è possibile|(?:posso|possiamo|potrò)"
        rf"(?: {_ITALIAN_VERBS}|[.!]?$))",
        r"(?:come|in quanto) (?:\w+ )?(?:ia|intelligenza artificiale|modello linguistico|modello di linguaggio|assistente)\b"
        rf"{_WITHIN}\b(?:non (?:posso|possiamo|mi|sono|ho|devo)|devo|rifiuto)\b",
        r"(?:questa|la tua|la sua|la) richiesta\b[^.]{0,30}(?:viola|contro|non |infrange)",
        r"devo (?:rifiutare|declinare)",
    ),
    "Portuguese": (
        r"(?:eu )?não (?:me é|é|nos é) (?:permitido|possível)\b",
        r"prefiro não\b",
        r"(?:eu )?(?:sinto muito|peço desculpas?|me desculpe)\b",
        r"(?:eu )?lamento[,.]? (?:mas|não|informar|que)\b",
        r"(?:desculpe|desculpa)[,.]? (?:mas|eu|não)\b",
        r"(?:mas |infelizmente,? )?(?:eu )?não (?:estou (?:autorizad|apto)|sou capaz|me é possível|(?:posso|podemos|consigo|"
        r"poderei)"
        rf"(?: {_PORTUGUESE_VERBS}|[.!]?$))",
        rf"como (?:(?:uma|um) )?(?:\w+ )?(?:ia|inteligência artificial|modelo de linguagem|assistente)\b{_WITHIN}\b"
        r"(?:não (?:posso|podemos|consigo|me|estou|sou|tenho|devo)|devo|tenho (?:que|de)|recuso)\b",
        r"(?:esta|essa|sua|a) (?:solicitação|pedido|pergunta)\b[^.]{0,30}(?:viola|infringe|contra|não )",
        r"(?:devo|tenho que|tenho de) (?:recusar|declinar)",
    ),
    "Dutch": (
        r"(?:het )?spijt me\b",
        r"sorry[,.]? (?:maar |ik|dit|dat)",
        rf"(?:ik|we|wij) (?:kan|mag|kunnen|mogen|zal|wil)\b{_WITHIN}\b(?:niet|geen)\b(?:{_WITHIN}\b{_DUTCH_VERBS}|[.!]?$)",
        rf"(?:helaas|daar|hier|dat|dit|daarbij|hierbij)\b[^.]{{0,20}}\b(?:kan|mag) ik\b{_WITHIN}\b(?:niet|geen)\b"
        rf"(?:{_WITHIN}\b{_DUTCH_VERBS}|[.!]?$)",
        r"(?:ik ben|wij zijn) (?:helaas )?niet (?:in staat|bevoegd)",
        rf"als (?:een )?(?:\w+ )?(?:ai|taalmodel|kunstmatige intelligentie|assistent)\b{_WITHIN}\b(?:ik|mij|me|we|wij|mijn)\b"
        rf"{_WITHIN}\b(?:niet|geen|weiger\w*|afwijzen)\b",
        r"(?:dit|je|uw|jouw|het) (?:verzoek|vraag)\b[^.]{0,30}(?:schendt|strijd|tegen|niet)",
        r"ik moet\b[^.]{0,30}(?:weigeren|afwijzen)",
    ),
    "Russian": (
        r"(?:извините|простите|прошу прощения|приношу извинения|мне (?:очень )?жаль)\b",
        r"(?:но |к сожалению,? )?(?:я |мы )?не (?:имею права|в состоянии|вправе)\b",
        rf"(?:но |к сожалению,? )?(?:я |мы )?не (?:могу|можем|смогу|буду)(?: {_RUSSIAN_VERBS}|[.!]?$)",
        r"к сожалению,? (?:я|это|этот|данный)\b",
        rf"как (?:\w+ )?(?:ии|искусственный интеллект|языковая модель|ии-\w+|ассистент)\b{_WITHIN}\b"
        r"(?:не (?:могу|можем|имею|буду|вправе)|мне не|вынужден\w*)\b",
        r"(?:этот|данный|ваш|твой) запрос\b[^.]{0,30}(?:нарушает|противоречит|не )",
        r"(?:я )?(?:вынужден|вынуждена|должен|должна) отказать",
    ),
    "Ukrainian": (
        r"(?:вибачте|перепрошую|мені (?:дуже )?шкода|на жаль)\b",
        rf"(?:я )?не (?:можу|зможу)(?: {_UKRAINIAN_VERBS}|[.!]?$)",
        rf"як (?:\w+ )?(?:ші|штучний інтелект|мовна модель)\b{_WITHIN}\b(?:не (?:можу|маю|буду)|мені не|змушен\w+)\b",
    ),
    "Polish": (
        r"przepraszam[,.]? (?:ale|nie)\b",
        r"(?:przykro mi|niestety)\b[^.]{0,40}\b(?:nie|ale)\b",
        rf"(?:ja )?nie (?:jestem w stanie\b|(?:mogę|będę)(?: {_POLISH_VERBS}|[.!]?$))",
        rf"jako (?:\w+ )?(?:ai|si|sztuczna inteligencja|model językowy|asystent)\b{_WITHIN}\b"
        r"(?:nie (?:mogę|jestem|będę|mam|wolno)|muszę|odmawiam)\b",
    ),
    "Turkish": (
        r"(?:üzgünüm|özür dilerim|maalesef)\b",
        r"bu (?:istek|talep|konuda|isteğ[ei])\b[^.]{0,60}(?:amam|emem|ihlal|aykırı)",
        rf"(?:bir )?yapay zeka\b[^.]{{0,30}}\b(?:olarak|modeliyim)\b{_WITHIN}(?:amam|emem|m[ıiuü]yorum|değilim)\b",
    ),
    "Arabic": (
        r"(?:عذر(?:ً?ا|اً)?\b|آسف|أعتذر|للأسف|معذرة)",
        r"(?:أنا )?(?:لا (?:يمكنني|أستطيع)|لن أتمكن)",
        rf"(?:كنموذج|بصفتي|كوني)\b{_WITHIN}\b(?:لا|لن|لست)\b",
    ),
    "Hindi": (
        r"(?:क्षमा|माफ\u093c?) (?:कर|कीजि|चाह)",
        r"(?:मुझे )?खेद है|मुझे खेद",
        r"मैं [^।]{0,60}नहीं (?:कर|दे|बना) ?सकत",
    ),
    "Chinese": (
        r"(?:很|非常|十分|真的)?(?:抱歉|对不起|對不起|不好意思)",
        r"(?:但是?|但|因此|所以)?(?:我|我们|我們)?(?:目前|暂时|實在|实在)?(?:无法|不能|無法|没办法|沒辦法|不可以|不会|不會|拒绝|拒絕)(?:为您|为你|為您|为|您|你|向您)?"
        r"(?:提供|帮|幫|协助|協助|回答|满足|滿足|完成|生成|创建|創建|继续|繼續|执行|執行|处理|處理|支持|讨论|討論|参与|給|给|这样|这个|此)(?!的)",
        r"(?:作为|作為|身为|身為)(?:一个|一個|一款|一名|一种)?(?:ai|人工智能|人工智慧|语言模型|語言模型|大型|大语言|助手)"
        r"[^。：:！？\n]{0,40}(?:无法|無法|不能|不会|不會|不可|不应|不應|拒绝|拒絕|没有|沒有)",
        r"恐怕(?:我|我们)?(?:不能|无法|不可以)",
        r"(?:该|此|这个|這個|这|您的|你的|本)(?:请求|請求|要求|内容|內容|问题|問題).{0,12}(?:违反|違反|不符合|涉及|不当|无法|無法)",
    ),
    "Japanese": (
        r"(?:大変|誠に)?(?:申し訳|すみません(?:が|、)|ごめんなさい|恐れ入りますが|恐縮ですが|残念ながら)",
        r".{0,40}(?:こと|は|が|を|に|も)(?:お手伝い|お答え|対応|提供|回答)?(?:は|が)?(?:できません|出来ません|いたしかねます|致しかねます|できかねます|お応えできかねます|"
        r"お答えできません|お応えできません)",
        r"(?:私は)?(?:ai|人工知能|言語モデル|aiアシスタント|大規模言語モデル)(?:アシスタント|モデル)?(?:として|なので|ですので|であるため)"
        r"[^。\n]{0,60}(?:ません|かねます|お断り|控え)",
        r"(?:この|その|ご)(?:リクエスト|要求|依頼|質問|要望|内容).{0,30}(?:違反|反し|不適切|できません|お断り)",
        r".{0,20}お断り(?:し|させ|いた)",
    ),
    "Korean": (
        r"(?:정말 |대단히 )?(?:죄송(?:합|하|해|스럽)|미안(?:합|하지|하게|해)|유감(?:스럽게|이지만|입니다))",
        r".{0,40}(?:드릴|할|도울|줄|만들|응할|따를) 수(?:는|가)? 없(?!(?:는|던)(?! 점))",
        r"(?:저는 )?(?:ai|인공지능|언어 모델|ai 언어 모델|인공지능 언어 모델)(?:로서|로써|으로서|이기 때문에|이므로|입니다)"
        r"[^.\n]{0,60}(?:없(?!는)|않|못|거절|거부)",
        r"(?:이|해당|귀하의|그) 요청.{0,25}(?:위반|위배|없|거절|거부)",
    ),
}
"""Regular expressions of how a refusing sentence starts, by language. Texts are compared in small letters with straight quotes."""

_POLICY = re.compile(
    r"\b(?:violat\w+|against|breach\w*|contraven\w+|not (?:allowed|permitted) (?:by|under)) (?:of )?(?:my|our|the|openai'?s?|its|"
    r"content|usage|safety|community)\b[^.]{0,30}\b(?:policy|policies|guidelines|terms of|rules of conduct|code of conduct)\b"
)
_SENTENCE_START = r"(?:^|(?<=[.!?:\n])\s|(?<=[。！？：\n]))[\s\"'*_#>(\[-]*"
_REFUSAL = re.compile(
    "|".join(f"{_SENTENCE_START}(?:{pattern})" for patterns in PATTERNS.values() for pattern in patterns), re.MULTILINE
)
_INABILITY = re.compile(
    r"\b(?:i|we) (?:cannot|can't|can not|won't|will not|couldn't|am unable|am not able|must not|may not)\b"
    r"|\b(?:i'm|i am|we're|we are) (?:unable|not able|not allowed|not permitted|not comfortable|not going to)\b"
    r"|\bi(?:'m| am| have| need)? (?:going )?to decline\b|\bbeyond what i(?:'m| am)\b|\b(?:non mi è|non è) consentit\w+|"
    r"\bno estoy autorizad"
    r"|\bnão (?:estou|é) (?:autorizad|permitid)|\bсожалею\b|控えさせて|답변이 어렵|\bdass ich\b[^.!?]{0,40}\bnicht\b|\bm'est interdit"
    r"|\bnot something (?:that )?(?:i|we) (?:can|could|will|am|do)\b"
    r"|\bich (?:kann|darf|werde|möchte)\b[^.!?]{0,60}\b(?:nicht|kein\w*)\b|\b(?:kann|darf|werde) ich\b[^.!?]{0,60}\b(?:nicht|"
    r"kein\w*)\b"
    r"|\bje (?:ne |n')(?:peux|puis|suis|pourrai|veux|vais)\b|\b(?:no|non|não) (?:puedo|posso|consigo)\b"
    r"|\b(?:kan|mag|zal) ik\b[^.!?]{0,60}\b(?:niet|geen)\b|\bik (?:kan|mag|zal)\b[^.!?]{0,60}\b(?:niet|geen)\b"
    r"|\bя не (?:могу|буду|имею|в состоянии)\b|\bnie (?:mogę|będę)\b|\bне (?:можу|зможу)\b|我(?:们)?(?:无法|不能|拒绝|不可以|不会|無法)|(?:できません|出来ません|かねます|お断り)|수 없"
)
_SPEAKER = re.compile(r"^\W*(?:assistant|ai|answer|response|refusal|error)\W*[:：]\s*")
_STRAIGHT = str.maketrans("’‘‛`´“”„«»", "'''''\"\"\"\"\"")


def is_refusal(text: str) -> bool:
    """Whether `text`, one string of an answer, refuses. Only its first 600 characters are read."""
    plain = _plain(text)
    return bool(_REFUSAL.search(plain) or _POLICY.search(plain))


def is_refusal_in_prose(text: str) -> bool:
    """Whether an answer in prose refuses: there, any clause that says "I cannot" tells. Its first 600 characters are read."""
    return is_refusal(text) or bool(_INABILITY.search(_plain(text)))


def _plain(text: str) -> str:
    plain = unicodedata.normalize("NFKC", text[:LONGEST_LEAD].translate(_STRAIGHT)).lower().strip()
    return _SPEAKER.sub("", re.sub(r"[ \t\xa0]+", " ", plain.replace("*", "")))
