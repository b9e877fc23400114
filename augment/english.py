"""English: words never to be touched, abbreviations, and what else looks like a word and is none."""

import re

from augment.space_delimited import APOSTROPHES

_ROMAN_NUMERAL = re.compile(r"X{0,3}(?:IX|IV|V?I{0,3})")  # of popes and wars: a number, as digits are
_DETACHED_NOT = re.compile(rf"\s+n[{APOSTROPHES}]t\b", re.IGNORECASE)
_VOWEL = re.compile(r"[aeiouy]|[^a-z]", re.IGNORECASE)

# After NLTK's English list, which the original code uses, with what that list lacks: all modal verbs, prepositions,
# conjunctions and denials, the codes by which treebank text such as SST-2 writes brackets ("-lrb-"), and last what a
# model's vocabulary has and no sentence: abbreviations and parts of addresses.
_STOP_WORDS = """
    a an the this that these those such same own other another each every either both all any some few more most much
    many several less least enough

    i me my mine myself we us our ours ourselves you your yours yourself yourselves he him his himself she her hers
    herself it its itself they them their theirs themselves one ones oneself someone somebody something anyone anybody
    anything everyone everybody everything

    who whom whose which what when where why how whoever whatever whichever whenever wherever

    am is are was were be been being has have had having do does did doing done
    can could may might must shall should will would ought let lets

    no not nor none nobody nothing nowhere never neither cannot without hardly barely scarcely rarely seldom
    ain aren couldn didn doesn don hadn hasn haven isn mightn mustn needn shan shouldn wasn weren won wouldn
    aint arent cant couldnt didnt doesnt dont hadnt hasnt havent isnt shouldnt wasnt werent wont wouldnt

    and but or if because as until while although though unless whether since than so yet
    of at by for with about against between into through during before after above below to from up down in out on off
    over under upon onto within among amongst toward towards via per along across around behind beneath beside besides
    beyond despite except near like

    again further then once here there too very just only now also even ever else rather quite

    ll re ve em til tis twas
    vs etc eg ie mr mrs ms dr jr sr http https www com org html pdf jpg
    lrb rrb lsb rsb lcb rcb
"""
STOP_WORDS = frozenset(_STOP_WORDS.split())

# What is an abbreviation when a full stop follows; those without a vowel ("mgmt.") are known without a list.
_LISTED = """
    co corp inc prof rev hon gen col maj capt lieut sen rep gov pres supt messrs mlle fr sra
    ave ed eds vol vols no nos op cit al ibid fig figs eq eqs ch sec ca approx est incl excl esp misc orig abbr dept
    univ assn assoc bros intl natl govt admin asst exec adm comm
    jan feb mar apr jun jul aug sep sept oct nov dec mon tue tues wed thu thur thurs fri sat sun
    min max avg hr hrs secs oz lbs mi ga ala ariz calif colo conn del fla ind kan mich minn mo neb nev okla ore pa tenn
    tex va
"""
_ABBREVIATIONS = frozenset(_LISTED.split())


def is_protected(sentence: str, start: int, end: int) -> bool:
    """Whether a word is none to replace for what it is or for what follows it."""
    after = sentence[end : end + 2]
    if after[:1] == "." and after != "..":
        word = sentence[start:end].lower()
        if word in _ABBREVIATIONS or not _VOWEL.search(word):
            return True
    if sentence[start] in "IVX" and _ROMAN_NUMERAL.fullmatch(sentence, start, end):
        return True
    return after[:1].isspace() and _DETACHED_NOT.match(sentence, end) is not None
