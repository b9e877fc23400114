"""The words of the made-up reviews, by polarity and by what is reviewed.

Lists run from common to rare: the grammar draws the early words more often, so that a small labelled set leaves many
words unseen, as real ones do.
"""

from dataclasses import dataclass
from typing import NamedTuple


class Polar(NamedTuple):
    """Words of praise and words of blame, which fit the same places of a sentence."""

    negative: tuple[str, ...]
    positive: tuple[str, ...]


def _polar(positive: str, negative: str) -> Polar:
    return Polar(negative=tuple(negative.split()), positive=tuple(positive.split()))


@dataclass(frozen=True)
class Domain:
    """Something people review. `aspects` are its parts; each of `settings` is a neutral sentence to begin with."""

    things: tuple[str, ...]
    aspects: tuple[str, ...]
    adjectives: Polar
    settings: tuple[str, ...]


# Adjectives that fit anything.
ADJECTIVES = _polar(
    positive="""good great excellent wonderful superb fantastic lovely brilliant amazing perfect terrific splendid
        impressive outstanding remarkable magnificent marvellous delightful charming pleasant enjoyable fabulous
        exceptional admirable superior fine elegant refreshing satisfying stunning beautiful first-rate glorious
        exquisite sublime dazzling adorable inspired commendable flawless appealing agreeable rewarding memorable
        stellar phenomenal incredible worthwhile praiseworthy tasteful polished graceful captivating joyful
        spectacular enchanting likeable exemplary faultless masterful peerless unbeatable laudable top-notch""",
    negative="""bad terrible awful poor horrible dreadful disappointing mediocre lousy weak inferior pathetic
        unpleasant atrocious abysmal appalling miserable annoying dire tedious shoddy irritating horrid ghastly
        unbearable tiresome lacklustre second-rate dismal woeful unsatisfying lamentable sloppy hopeless useless
        deplorable wretched offensive tasteless regrettable laughable embarrassing repulsive frustrating hideous
        unacceptable disgraceful pitiful ugly grim depressing insufferable amateurish forgettable substandard clumsy
        infuriating abominable rotten shameful worthless subpar obnoxious dispiriting""",
)

# "The ending was a ...": all take the article "a".
VERDICTS = _polar(
    positive="""triumph delight gem joy masterpiece success treat pleasure winner treasure marvel revelation wonder
        blessing sensation miracle bargain hit jewel blast""",
    negative="""disaster mess failure letdown flop nightmare disgrace bore disappointment catastrophe travesty shambles
        nuisance joke shame burden fiasco dud chore headache""",
)

# "The ending was full of ...".
QUALITIES = _polar(
    positive="""charm warmth style care flair grace imagination character elegance beauty personality energy finesse
        thought life heart passion sparkle skill sophistication""",
    negative="""flaws mistakes problems faults blunders defects trouble nonsense gimmicks errors weaknesses shortcomings
        annoyances excuses disappointments carelessness confusion laziness pretension oddities""",
)

# "I ... the ending": base form/past.
OPINIONS = _polar(
    positive="""like/liked love/loved enjoy/enjoyed adore/adored admire/admired appreciate/appreciated praise/praised
        treasure/treasured cherish/cherished applaud/applauded relish/relished recommend/recommended
        celebrate/celebrated savour/savoured""",
    negative="""dislike/disliked hate/hated regret/regretted despise/despised loathe/loathed detest/detested
        resent/resented deplore/deplored condemn/condemned criticise/criticised curse/cursed mock/mocked
        lament/lamented scorn/scorned""",
)

# "The ending ... me": base form/past.
EFFECTS = _polar(
    positive="""impress/impressed delight/delighted please/pleased amaze/amazed charm/charmed thrill/thrilled
        satisfy/satisfied captivate/captivated fascinate/fascinated inspire/inspired enchant/enchanted cheer/cheered
        dazzle/dazzled win/won excite/excited uplift/uplifted reward/rewarded soothe/soothed""",
    negative="""disappoint/disappointed annoy/annoyed irritate/irritated frustrate/frustrated bore/bored
        disgust/disgusted anger/angered depress/depressed offend/offended sadden/saddened appal/appalled repel/repelled
        infuriate/infuriated dismay/dismayed exasperate/exasperated upset/upset bother/bothered sicken/sickened""",
)

INTENSIFIERS = ("very", "really", "truly", "quite", "extremely", "remarkably", "utterly", "surprisingly", "thoroughly",
                "incredibly", "altogether", "downright")  # fmt: skip

OPENERS = ("honestly", "in my opinion", "to be fair", "in the end", "on the whole", "overall", "for what it is worth",
           "as far as I am concerned", "all in all", "to tell the truth")  # fmt: skip

WITNESSES = ("the critics", "my friends", "the reviews", "my parents", "my colleagues", "the adverts", "some people",
             "my neighbours", "the papers", "our guests")  # fmt: skip

_COMPANIONS = "my sister, my wife, two friends, my parents, a colleague, my husband, our children, my cousin"
COMPANIONS = tuple(_COMPANIONS.split(", "))
TIMES = ("last week", "on Friday", "in March", "over Christmas", "two days ago", "at the weekend", "last summer",
         "in the holidays", "on a rainy Sunday", "a month ago")  # fmt: skip

_STORY = _polar(
    positive="""moving funny gripping exciting clever touching witty thrilling original absorbing hilarious compelling
        engaging poignant suspenseful inventive lyrical heartfelt riveting insightful subtle imaginative vivid
        spellbinding thoughtful haunting lively powerful nuanced sincere""",
    negative="""boring dull predictable silly confusing shallow slow pointless unfunny stale contrived cheesy incoherent
        pretentious bland wooden derivative implausible sentimental plodding muddled preachy uninspired cliched
        monotonous tedious forced stilted overlong vapid""",
)

DOMAINS = (
    Domain(
        things=("film", "movie", "comedy", "thriller", "drama", "sequel", "documentary", "western", "musical",
                "remake"),
        aspects=("plot", "acting", "script", "ending", "dialogue", "soundtrack", "cast", "direction", "opening scene",
                 "humour", "editing", "lead actor", "camera work", "second half", "villain", "dubbing", "car chase",
                 "lighting", "romance", "finale"),
        adjectives=_STORY,
        settings=("I saw the {thing} with {companion} {time}", "we watched the {thing} {time}",
                  "{companion} took me to the {thing} {time}", "the {thing} was shown on television {time}"),
    ),
    Domain(
        things=("book", "novel", "memoir", "biography", "mystery", "anthology", "trilogy", "diary"),
        aspects=("prose", "story", "heroine", "first chapter", "narrator", "translation", "dialogue", "conclusion",
                 "style", "cover", "hero", "middle part", "preface", "subplot", "premise", "last page", "imagery",
                 "pacing", "epilogue", "detective"),
        adjectives=_STORY,
        settings=("I read the {thing} {time}", "{companion} gave me the {thing} {time}",
                  "I borrowed the {thing} from {companion} {time}", "our reading group chose the {thing} {time}"),
    ),
    Domain(
        things=("restaurant", "cafe", "bistro", "diner", "pizzeria", "tavern", "canteen", "brasserie"),
        aspects=("food", "service", "soup", "menu", "steak", "dessert", "wine", "coffee", "bread", "waiter", "salad",
                 "sauce", "fish", "pasta", "curry", "chef", "breakfast", "pie", "seafood", "cheesecake"),
        adjectives=_polar(
            positive="""delicious fresh tasty generous friendly juicy tender mouthwatering flavourful authentic
                delectable crisp scrumptious hearty attentive appetising yummy succulent wholesome fragrant aromatic
                welcoming luscious zesty divine""",
            negative="""cold greasy salty rude soggy burnt overpriced tasteless stale undercooked overcooked flavourless
                inedible unappetising soapy watery rancid mushy slimy sour unfriendly stingy sickly rubbery
                indigestible""",
        ),
        settings=("we had dinner at the {thing} {time}", "I tried the {thing} with {companion} {time}",
                  "{companion} booked a table at the {thing} {time}", "we stopped at the {thing} {time}"),
    ),
    Domain(
        things=("hotel", "hostel", "inn", "resort", "guesthouse", "campsite", "cottage", "lodge"),
        aspects=("room", "bed", "bathroom", "pool", "view", "breakfast", "lobby", "garden", "location", "shower",
                 "balcony", "reception", "receptionist", "terrace", "spa", "bar", "porter", "carpet", "kitchen",
                 "furniture"),
        adjectives=_polar(
            positive="""clean comfortable cosy quiet spacious friendly spotless relaxing luxurious peaceful bright
                welcoming restful airy tidy homely hospitable inviting picturesque immaculate snug idyllic tranquil
                opulent sumptuous""",
            negative="""dirty noisy cramped filthy uncomfortable smelly damp shabby overpriced dingy run-down mouldy
                neglected gloomy stuffy unhygienic dusty squalid dilapidated draughty grubby musty unwelcoming seedy
                chaotic""",
        ),
        settings=("we stayed at the {thing} {time}", "I visited the {thing} with {companion} {time}",
                  "{companion} found the {thing} for us {time}", "we spent two nights at the {thing} {time}"),
    ),
    Domain(
        things=("phone", "laptop", "camera", "tablet", "printer", "speaker", "watch", "headset"),
        aspects=("battery", "screen", "keyboard", "sound", "software", "charger", "display", "design", "microphone",
                 "casing", "lens", "touchpad", "manual", "interface", "warranty", "support", "packaging", "processor",
                 "strap", "installation"),
        adjectives=_polar(
            positive="""reliable fast durable sturdy responsive robust intuitive handy efficient solid sleek practical
                powerful versatile affordable seamless well-made ergonomic accurate lightweight dependable user-friendly
                ingenious smooth futureproof""",
            negative="""slow unreliable faulty flimsy fragile cheap sluggish defective unresponsive bulky overpriced
                clunky buggy inaccurate brittle impractical outdated unstable glitchy cumbersome laggy shaky noisy
                temperamental obsolete""",
        ),
        settings=("I bought the {thing} {time}", "{companion} lent me the {thing} {time}",
                  "I ordered the {thing} for {companion} {time}", "the {thing} arrived {time}"),
    ),
)  # fmt: skip
