"""Scores of reading comprehension: SQuAD 1.1, SQuAD 2.0, and CMRC 2018, whose score DRCD's users take too.

Each function scores one question, 0..1; `mean_score` is what a leaderboard shows, as a fraction.
"""

import itertools
import math
import re
import string
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from glue_tasks.errors import UserError
from glue_tasks.word_rules import words


class SpanScore(NamedTuple):
    exact_match: float
    f1: float

    @property
    def average(self) -> float:
        """AVERAGE of CMRC 2018's leaderboard."""
        return (self.exact_match + self.f1) / 2


Scorer = Callable[[str, Sequence[str]], SpanScore]

_WRONG, _RIGHT = SpanScore(0.0, 0.0), SpanScore(1.0, 1.0)


def mean_score(predictions: Mapping[str, str], answers: Mapping[str, Sequence[str]], score: Scorer) -> SpanScore:
    """The mean over all questions, by their ids. A question without a prediction counts 0.

    The official scripts of SQuAD 1.1 and CMRC 2018 do the same; SQuAD 2.0's leaves such a question out, and then fails.
    Predictions for other questions are not looked at. Raises UserError if there is no question, or if one has no
    answer where `score` needs one.
    """
    if not answers:
        raise UserError("there are no questions to score; give a file that has some, with their answers")
    scores = []
    for question, known in answers.items():
        try:
            scores.append(score(predictions[question], known) if question in predictions else _WRONG)
        except UserError as error:
            raise UserError(f"question {question}: {error}") from None
    return SpanScore(*(math.fsum(column) / len(scores) for column in zip(*scores, strict=True)))


def squad_score(prediction: str, answers: Sequence[str]) -> SpanScore:
    """SQuAD 1.1's (Rajpurkar et al. 2016, evaluate-v1.1.py): the best of each over the answers.

    Exact match: equal when normalized. F1: of the bags of words; 0 if no word agrees, even where both are empty.
    Raises UserError without an answer.
    """
    return _best(prediction, answers, _squad_pair)


def squad2_score(prediction: str, answers: Sequence[str]) -> SpanScore:
    """SQuAD 2.0's (Rajpurkar et al. 2018, evaluate-v2.0.py): 1.1's, with questions that have no answer.

    Where there is none, or none is left when normalized, an empty prediction is right: both scores are 1, else 0.
    """
    known = [answer for answer in answers if normalized(answer)]
    if not known:
        return _WRONG if normalized(prediction) else _RIGHT
    return squad_score(prediction, known)


def cmrc_score(prediction: str, answers: Sequence[str]) -> SpanScore:
    """CMRC 2018's (Cui et al. 2019, cmrc2018_evaluate.py), for DRCD too: the best of each over the answers.

    Exact match: equal in lower case without punctuation marks; a space counts. F1: of the longest run of `units` that
    the two share. Words that are not Chinese are not split into sentences first, as NLTK's word_tokenize would: with
    predictions for 11,238 questions one score differed. Raises UserError without an answer.
    """
    return _best(prediction, answers, _cmrc_pair)


def _best(prediction: str, answers: Sequence[str], pair: Callable[[str, str], SpanScore]) -> SpanScore:
    if not answers:
        raise UserError("there is no answer to compare the prediction with; leave it out, or use SQuAD 2.0's score")
    return SpanScore(*map(max, zip(*(pair(prediction, answer) for answer in answers), strict=True)))


def _f1(shared: int, predicted: int, known: int) -> float:
    if not shared:
        return 0.0
    precision, recall = shared / predicted, shared / known
    return 2 * precision * recall / (precision + recall)


# SQuAD


_PUNCTUATION = str.maketrans("", "", string.punctuation)  # ASCII only: curly quotation marks stay
_ARTICLES = re.compile(r"\b(a|an|the)\b")


def normalized(text: str) -> str:
    """SQuAD's: lower case, no ASCII punctuation ("state-of-the-art" is one word then), no articles, single spaces."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def _squad_pair(prediction: str, answer: str) -> SpanScore:
    ours, theirs = normalized(prediction), normalized(answer)
    predicted, known = Counter(ours.split()), Counter(theirs.split())
    shared = (predicted & known).total()
    return SpanScore(float(ours == theirs), _f1(shared, predicted.total(), known.total()))


class NoAnswerThreshold(NamedTuple):
    threshold: float
    score: float  # the mean over all questions with it


def no_answer_threshold(
    scores: Sequence[float], has_answer: Sequence[bool], null_scores: Sequence[float]
) -> NoAnswerThreshold:
    """Finds above which null score a question is best left without an answer (evaluate-v2.0.py's find_best_thresh).

    scores: (N,), exact match or F1 of each question's predicted text, as `squad2_score` gives it
    has_answer: (N,), whether the question has an answer: then "none" scores 0, else 1
    null_scores: (N,), the higher, the less likely an answer: the score of "none" minus that of the best span

    A text is given where the null score is at most the threshold. The lowest of several best thresholds is returned.
    Unlike in the official search, questions with the same null score are decided together, and where it is best to
    answer none the threshold lies below every null score (the official one is then 0, right for probabilities only);
    so the score is always what the threshold gives. Raises UserError if there is no question or a null score is NaN.
    """
    order = sorted(zip(null_scores, scores, has_answer, strict=True), key=lambda question: question[0])
    if not order:
        raise UserError("there are no questions to find a threshold on; give a dev file with some")
    if any(math.isnan(null) for null, _, _ in order):
        raise UserError("a question's no-answer score is not a number; check the model's outputs")
    lowest = order[0][0]
    best, threshold = 0.0, 0.0 if lowest > 0 else math.nextafter(lowest, -math.inf)
    gained = 0.0  # by the texts given so far, against giving none
    for null, questions in itertools.groupby(order, key=lambda question: question[0]):
        gained += math.fsum(score - (not answerable) for _, score, answerable in questions)
        if gained > best:
            best, threshold = gained, null
    unanswerable = sum(not each for each in has_answer)
    return NoAnswerThreshold(threshold, (unanswerable + best) / len(order))


# CMRC 2018


_CHINESE = re.compile("[\u4e00-\u9fa5]")
# The official list has two points as one entry, "……", which equals no character: an ellipsis stays, and so do ASCII
# commas, full stops and brackets.
_REMOVED = str.maketrans("", "", "-:_*^/\\~`+=，。：？！“”；’《》·、「」（）－～『』")


def units(text: str) -> list[str]:
    """CMRC 2018's mixed segmentation: Chinese characters, and the words of what lies between them, in lower case.

    Punctuation marks go first and part no word: "1999-2003" is "19992003".
    """
    found: list[str] = []
    for part in re.split(f"({_CHINESE.pattern})", _without_marks(text)):
        found += [part] if _CHINESE.fullmatch(part) else words(part)
    return found


def _without_marks(text: str) -> str:
    return text.lower().strip().translate(_REMOVED)


def longest_common_run(first: Sequence[str], second: Sequence[str]) -> int:
    """The length of the longest contiguous run of elements that both sequences have; O(len(first) * len(second))."""
    longest, row = 0, [0] * (len(second) + 1)  # row[j]: of the run that ends at the current element and second[j - 1]
    for element in first:
        before = 0
        for j, other in enumerate(second, 1):
            before, row[j] = row[j], before + 1 if element == other else 0
            longest = max(longest, row[j])
    return longest


def _cmrc_pair(prediction: str, answer: str) -> SpanScore:
    predicted, known = units(prediction), units(answer)
    f1 = _f1(longest_common_run(predicted, known), len(predicted), len(known))
    return SpanScore(float(_without_marks(prediction) == _without_marks(answer)), f1)
