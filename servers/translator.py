"""A translator with a tiny dictionary. It asks if the language is missing, and fails if it does not know a word."""

import re

from a2a_grpc import Agent, Failed, Turn
from a2a_grpc.cli import serve_command

WORDS = {
    "french": {"hello": "Bonjour", "goodbye": "Au revoir", "thank you": "Merci", "hello world": "Bonjour le monde"},
    "german": {"hello": "Hallo", "goodbye": "Auf Wiedersehen", "thank you": "Danke", "hello world": "Hallo Welt"},
    "spanish": {"hello": "Hola", "goodbye": "Adiós", "thank you": "Gracias", "hello world": "Hola mundo"},
}

agent = Agent("Translator", "Translates a few English words into French, German or Spanish.")


@agent.skill("translate", tags=["translation"], examples=["Translate 'hello' to French"])
async def translate(turn: Turn) -> str:
    """Translate an English phrase in quotes to another language, for example 'hello' to French."""
    asked = re.search(r"['\"‘“](.+?)['\"’”](?:.*\b(?:to|into)\s+(\w+))?", turn.text, re.DOTALL)
    if asked is None:
        raise Failed("Put what to translate in quotes: Translate 'hello' to French.")
    phrase, language = asked.groups()
    if language is None:
        language = (await turn.ask(f"Into which language? I know {', '.join(map(str.title, WORDS))}.")).strip(" .")
    words = WORDS.get(language.lower())
    if words is None:
        raise Failed(f"I do not know {language}; I know {', '.join(map(str.title, WORDS))}.")
    if phrase.lower() not in words:
        raise Failed(f"I do not know '{phrase}' in {language.title()}.")
    return words[phrase.lower()]


if __name__ == "__main__":
    serve_command(agent)
