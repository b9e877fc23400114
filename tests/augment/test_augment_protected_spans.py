"""What is no ordinary word is never touched, and ordinary words beside it are."""

import re
from pathlib import Path

import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st

from augment import CandidateOptions
from augment.words import WordRules, find_words
from glue_tasks import get_task
from glue_tasks.files import open_table
from glue_tasks.places import find_file

CHINESE = WordRules.of(CandidateOptions(language="zh"))


def replaceable(sentence: str, rules: WordRules | None = None) -> list[str]:
    return [word.text for word in (rules or WordRules()).find_words(sentence) if word.replaceable]


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        # Addresses
        ("see https://www.example.com/great/film?x=good now", ["see"]),
        ("(see http://example.com/film)", ["see"]),
        ("www.goodfilm.com rocks", ["rocks"]),
        ("goodfilm.com rocks", ["rocks"]),
        ("write to john.doe@good-films.org, or mailto:bad@example.com", ["write"]),
        ("ftp://host/film localhost:8080/film", []),
        # Files
        ("open train_aug.tsv and film.txt", ["open"]),
        ("C:\\Users\\film\\story.txt , /usr/local/film ~/film ./film", []),
        ("comedy/drama and/or TCP/IP", []),
        # HTML and XML
        ("Johnson &amp; Johnson film&#39;s AT&amp;T", ["Johnson", "Johnson"]),
        ("&quot;good film&quot; story&nbsp;city", ["good", "film", "story", "city"]),
        ("<b>good</b> film<br /><br />The story", ["good", "film", "story"]),
        ('a <a href="x" title="nice film">link</a>', ["link"]),
        ("<!-- a film --> story <code>good film</code> city", ["story", "city"]),
        ("2 < 5 films > story", ["films", "story"]),
        # Names, tags, placeholders
        ("@goodfilm loves #goodfilm @ home", ["loves", "home"]),
        ("[id] the [person] film [NAME OF PERSON] [**Name**] <unk> %name% $name", ["film"]),
        ("{name} film {first name} {{ user }} {% if film %}", ["film"]),
        ("the plot [film of the year]", ["plot", "film", "year"]),  # brackets of prose
        ("[math]x film y[/math] story", ["story"]),
        # Code
        ("call print(film) or self.film or film.story", ["call"]),
        ("print(film[0], story(city)) good", []),  # two signs of code in a line
        ("actor(s) wins", ["wins"]),
        ("```film story``` and `good film` here", []),
        ("film_story camelCase getFilm FilmMaker", []),
        ("key=value film+story a::film", []),
        ("x = film + 3; return story", []),
        ("SELECT film FROM story WHERE id = 3;", []),
        ("for film in films: print(film); story += film", []),
        ("the film\nif (film == story) { good(film); }\nthe story", ["film", "story"]),
        ('{"film": {"name": "story"}} city', ["city"]),
        ("--verbose -film C++ C# R&B", []),
        # Abbreviations
        ("good vs. bad, etc. and the film.", ["good", "bad", "film"]),
        ("Dr. Smith and Mr. Jones, Inc. of Mt. Film mgmt. story.", ["Smith", "Jones", "Film", "story"]),
        ("good vs bad etc", ["good", "bad"]),
        ("e.g. U.S. film, i.e. a.k.a. p.m. story", ["film", "story"]),
        ("Dec. 3, Calif. film", ["film"]),
        # Prose
        ("the (good) film, \"story\"; 'tale' - city: plot!", "good film story tale city plot"),
        ("actor? scene... [end", "actor scene end"),
        ("«film» “story” ‘tale’ „city“ ¿plot? ¡actor!", "film story tale city plot actor"),
        ("good...but bad--really—nice,film;story", "good bad really nice film story"),
        ("`` good film '' and ` bad story ' here", "good film bad story"),
        ("*good* **bad** ~film~", "good bad film"),
        ("pre- and post-war film", "film"),
        ("won\u00adder\u00adful fi\u200blm film\u200d \u2015good", "good"),  # hyphens and spaces that are not seen
        ("GREAT FILM!!! :) :-D <3 :smile:", "GREAT FILM"),
    ],
)  # fmt: skip
def test_english(sentence, expected):
    assert replaceable(sentence) == (expected.split() if isinstance(expected, str) else expected)


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        ("看http://t.cn/Rabc电影", ["看", "电影"]),
        ("看www.dianying.com电影", ["看", "电影"]),
        ("酒店，邮箱a.b@dianying.com", ["酒店", "邮箱"]),
        ("@电影精彩 酒店", ["酒店"]),
        ("#电影精彩#酒店", ["酒店"]),
        ("#电影，酒店_服务_2019年", ["酒店"]),
        ("酒店[电影]服务<b>干净</b>", ["酒店", "服务", "干净"]),
        ("酒店&nbsp;干净<br/>服务", ["酒店", "干净", "服务"]),
        ("酒店{电影}，`服务`", ["酒店"]),
        ("电影.txt 酒店/房间 看/usr/local D:\\电影\\故事", ["酒店", "房间", "看"]),
        ("因为_酒店_不好，[服务]喜欢电影", ["喜欢", "电影"]),  # as CLUEWSC2020 marks a noun and a pronoun
        ("我喜欢____，酒店", ["喜欢", "酒店"]),
        ("酒店\ufe00的房间", ["房间"]),  # a mark that chooses the form of 店
    ],
)
def test_chinese(sentence, expected):
    assert replaceable(sentence, CHINESE) == expected


@given(st.text("aB .,'\"<>[]{}()`@#&;:/\\_-=!?\n1é\u0301", max_size=40))
def test_a_replaced_word_is_a_whole_run_of_letters(sentence):
    for word in find_words(sentence):
        if word.replaceable:
            assert not regex.search(r"[\p{L}\p{M}\p{N}_@#&/\\=]$", sentence[: word.start])
            assert not regex.match(r"[\p{L}\p{M}\p{N}_@#&/\\=({]", sentence[word.end :])


def spans_of(name: str, folder: Path) -> set[str]:
    task = get_task(name)
    return {text for row in open_table(task, find_file(task, folder, "train")) for text in row.texts}


@pytest.mark.realdata
def test_cluewsc_the_marked_noun_and_pronoun_are_never_replaced(shared):
    marked = 0
    for text in spans_of("CLUEWSC2020", shared / "data" / "clue"):
        spans = [match.span() for match in re.finditer(r"_[^_]+_|\[[^\]]+\]", text)]
        assert text.count("_") == 2  # so that the noun is what stands between
        marked += len(spans)
        words = [word for word in CHINESE.find_words(text) if word.replaceable]
        assert not any(word.start < end and word.end > start for word in words for start, end in spans)
    assert marked >= 2 * 400  # a few dozen texts, each with several pronouns


@pytest.mark.realdata
@pytest.mark.parametrize(("name", "least"), [("SST-2", 0.97), ("RTE", 0.97), ("CoLA", 0.97)])
def test_plain_prose_is_still_augmented(shared, name, least):
    """Against all words of letters alone between spaces and punctuation that are content words."""
    rules = WordRules()
    found = plain = 0
    task = get_task(name)
    for number, row in enumerate(open_table(task, find_file(task, shared / "data" / "glue", "train"))):
        for text in row.texts if number < 1500 else ():
            found += len(replaceable(text))
            plain += sum(map(rules.is_content_word, re.findall(r"(?<![-\w'])[^\W\d_]+(?![-\w'])", text)))
    assert least < found / plain <= 1


@pytest.mark.parametrize("text", ["vs", "etc", "http", "www", "com", "Mr"])
def test_what_is_no_word_is_not_put_in(text):
    assert not WordRules().may_replace(text)
