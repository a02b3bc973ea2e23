"""Small words, by language: those that lean on the next word, and those that begin a phrase.

A line that ends in an article, a preposition, a conjunction, a pronoun before its verb or an auxiliary reads
badly; one that begins with a conjunction, a preposition or a relative pronoun reads well.
"""

from __future__ import annotations

from collections.abc import Mapping

_LEANING = {
    "en": """a an the this that these those my your his her its our their some any no every each i you he
        she it we they who am is are was were be been being have has had do does did will would
        shall should can could may might must not never very so too as than such both either neither
        mr mrs ms dr st prof""",
    "de": """der die das den dem des ein eine einen einem einer eines kein keine keinen keinem keiner
        mein meine meinen meinem meiner dein deine sein seine seinen seinem seiner ihr ihre ihren
        ihrem ihrer unser unsere unseren unserem unserer euer eure dieser diese dieses diesen diesem
        jeder jede jedes jeden jedem ich du er sie es wir man zu sehr so als nicht im am zum zur vom
        beim ins ans herr frau dr""",
    "fr": """le la les un une des du au aux mon ma mes ton ta tes son sa ses notre nos votre vos leur
        leurs ce cet cette ces quelque quelques chaque tout toute tous toutes je tu il elle on nous
        vous ils elles ne se me te y en suis es est sommes êtes sont ai as a avons avez ont était
        étaient avait avaient très plus si m mme mlle""",
    "es": """el la los las un una unos unas lo al del mi mis tu tus su sus nuestro nuestra nuestros
        nuestras este esta estos estas ese esa esos esas aquel aquella cada todo toda todos todas yo
        tú él ella nosotros ellos ellas me te se nos le les no muy más tan es son era eran ha han
        había habían está están sr sra dr""",
    "pt": """o a os as um uma uns umas ao aos à às do da dos das no na nos nas num numa pelo pela pelos
        pelas meu minha meus minhas seu sua seus suas nosso nossa este esta estes estas esse essa
        esses essas cada todo toda todos todas eu tu ele ela nós eles elas me te se lhe não muito
        mais tão é são era eram foi foram tem têm há está estão sr sra dr""",
    "it": """il lo la i gli le un uno una del dello della dei degli delle al allo alla ai agli alle dal
        dallo dalla dai dagli dalle nel nello nella nei negli nelle sul sullo sulla sui sugli sulle
        mio mia miei mie tuo tua suo sua suoi sue nostro nostra loro questo questa questi queste
        quel quella ogni io tu lui lei noi voi mi ti si ci vi non molto più così è sono era erano ha
        hanno aveva sig""",
    "nl": """de het een deze dit die dat mijn jouw zijn haar ons onze hun elke ieder iedere geen ik jij
        je hij zij ze wij we jullie is zijn was waren heb heeft hebben had hadden zal zou kan kon
        niet zeer heel zo te dhr mevr""",
    "sv": """en ett den det de denna detta dessa min mitt mina din ditt dina sin sitt sina vår vårt våra
        jag du han hon vi ni är var har hade ska skulle kan kunde inte mycket så att""",
}

_OPENING = {
    "en": """and but or nor for yet because although though while when where whereas if unless until
        since after before that which who whom whose what how why of in on at by to from with
        without into onto over under about above across against along among around behind below
        beneath beside between beyond despite down during except inside like near off out outside
        past through throughout toward towards upon via within""",
    "de": """und aber oder denn sondern weil obwohl während wenn wann wo da dass ob damit bevor nachdem
        seit bis sobald indem wie was wer welcher welche welches in an auf mit von aus bei nach für
        über unter vor hinter neben zwischen durch gegen ohne um wegen trotz im am zum zur vom beim
        ins ans""",
    "fr": """et mais ou donc or ni car que qui quoi dont où lorsque quand comme puisque parce si de d à
        en dans sur sous avec sans pour par vers chez entre contre depuis pendant avant après jusque
        selon malgré du des au aux""",
    "es": """y e pero o u ni sino que quien quienes cual cuales cuyo cuya donde cuando como porque aunque
        si mientras pues de a en con sin por para sobre bajo entre hacia hasta desde contra según
        durante ante tras del al""",
    "pt": """e mas ou nem que quem qual quais cujo cuja onde quando como porque embora se enquanto pois
        de a em com sem por para sobre sob entre até desde contra segundo durante ante após do da
        dos das no na nos nas ao aos à às pelo pela""",
    "it": """e ed ma o oppure né che chi cui quale quali dove quando come perché anche se mentre sebbene
        poiché di a da in con su per tra fra senza sotto sopra verso contro durante dopo prima del
        della dei delle al alla ai alle dal dalla nel nella nei nelle sul sulla""",
    "nl": """en maar of want dus omdat hoewel terwijl als wanneer waar dat die wie wat hoe toen zodat
        tenzij van in op aan met zonder voor door over onder naar uit bij tegen tussen na om tot
        sinds tijdens""",
    "sv": """och men eller för så att som när där om medan eftersom fast innan tills vilken vilket vilka
        hur av i på till från med utan över under mellan genom mot hos vid efter före""",
}

_ABBREVIATIONS = """mr mrs ms dr prof st sr jr vs lt sgt capt rev hon dept approx
    ca bzw ggf evtl inkl nr hr geb gest mio mrd mme mlle sra srta ud uds núm pág dott avv dhr mevr bijv"""
"""Words that end in a full stop without ending a sentence, apart from single letters."""


def _table(text: Mapping[str, str]) -> dict[str, frozenset[str]]:
    return {language: frozenset(words.split()) for language, words in text.items()}


_NOTHING: frozenset[str] = frozenset()
_LEANING_WORDS, _OPENING_WORDS = _table(_LEANING), _table(_OPENING)
_SHORTENED_WORDS = frozenset(_ABBREVIATIONS.split())


def leans_on_next(word: str, language: str) -> bool:
    """Whether `word`, in small letters, should stay with the word after it."""
    return word in _LEANING_WORDS.get(language, _NOTHING) or begins_phrase(word, language)


def begins_phrase(word: str, language: str) -> bool:
    """Whether a line may well begin with `word`, in small letters."""
    return word in _OPENING_WORDS.get(language, _NOTHING)


def is_abbreviation(word: str) -> bool:
    """Whether `word`, in small letters and without its full stop, is often written with one."""
    return word in _SHORTENED_WORDS
