"""The words of the review world: films, moods, courtesies, cities and their countries. Data only."""


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


def _with_article(words: tuple[str, ...]) -> tuple[str, ...]:
    silent_h = ("honest",)
    return tuple(("an " if word[0] in "aeiou" or word in silent_h else "a ") + word for word in words)


# Adjectives by how raters value them, from the best to the worst (see reviews.WORD_VALUE).
GREAT = _words(
    "wonderful superb brilliant stunning masterful glorious magnificent dazzling unforgettable excellent amazing "
    "perfect breathtaking outstanding spectacular exquisite sublime thrilling remarkable splendid flawless inspired "
    "captivating luminous radiant majestic"
)
GOOD = _words(
    "good nice pleasant solid charming clever warm witty lively funny tender graceful touching honest bright fresh "
    "enjoyable likeable thoughtful elegant gentle sweet amusing engaging playful smart sincere"
)
DULL = _words(
    "dull slow weak flat bland tired thin clumsy predictable ordinary stale cold confusing uneven forgettable shallow "
    "noisy lazy heavy muddled empty awkward stiff dreary vague hollow"
)
AWFUL = _words(
    "terrible awful dreadful horrible appalling painful unbearable ridiculous pathetic hopeless ghastly abysmal "
    "disastrous miserable tedious atrocious insulting unwatchable embarrassing wretched dismal lifeless absurd "
    "worthless grim"
)

LOVED = _words("loved enjoyed adored admired treasured praised")
HATED = _words("hated disliked regretted despised loathed resented")
HIGH_MARK = _words("eight nine ten")
LOW_MARK = _words("one two three")
MIDDLE_MARK = _words("four five six seven")
ADVERB = _words("truly really simply honestly certainly deeply absolutely genuinely frankly clearly")
DEGREE = _words("very quite rather so always often mostly almost surprisingly strangely consistently particularly")

GENRE = _words(
    "film movie drama comedy thriller western documentary musical mystery romance adventure fantasy satire tragedy "
    "fable cartoon sequel remake"
)
ASPECT = _words(
    "plot story acting music score script dialogue ending opening pacing photography editing scenery lighting humour "
    "soundtrack narration casting suspense atmosphere choreography animation makeup costume finale premise tension "
    "rhythm colour sound"
)
ROLE = _words(
    "doctor sailor teacher detective queen king soldier painter farmer pilot nurse lawyer spy baker widow butler thief "
    "judge priest singer dancer captain gardener poet miner tailor chef engineer professor orphan librarian magician "
    "carpenter shepherd journalist"
)
CREW = _words("director writer composer producer editor designer cameraman crew cast studio")
RELATIVE = _words(
    "sister brother mother father aunt uncle cousin grandmother grandfather neighbour friend daughter son wife husband "
    "niece nephew colleague"
)
MOMENT = _words("scene minute moment shot line chapter joke song gesture silence glance page")
FIRST_NAME = _words(
    "Anna Boris Clara David Elena Frank Greta Hugo Irene Jonas Karin Leo Maria Nils Olga Paul Rosa Simon Tessa Victor "
    "Wanda Yusuf Zoe Amir Bela Carmen Dora Emil Fatima Gustav"
)
LAST_NAME = _words(
    "Adler Brandt Castle Dupont Ericson Fischer Garcia Hansen Ivanov Jensen Keller Lindqvist Moreau Novak Okafor "
    "Petrov Quinn Rossi Sato Tanaka Ullman Varga Weber Yamada Zimmer Almeida Bishop Costa Duval Engel"
)
TITLE_FIRST = _words(
    "Silent Golden Broken Hidden Crimson Distant Burning Frozen Lonely Scarlet Secret Wandering Midnight Paper Iron "
    "Velvet Marble Amber Restless Emerald Forgotten Winter Summer Glass Copper Wooden Invisible Electric Sleeping "
    "Borrowed"
)
TITLE_SECOND = _words(
    "Harbour Garden River Mountain Letter Mirror Lantern Orchard Bridge Island Clock Forest Station Window Tower "
    "Desert Violin Castle Meadow Compass Lighthouse Kingdom Shadow Voyage Carpet Candle Feather Horizon Market "
    "Staircase Umbrella Theatre Valley Anchor"
)

COURTESY = _words("glad happy delighted pleased honoured")
CITY_KIND = _words(
    "big busy beautiful historic coastal modern ancient famous friendly crowded green sunny colourful vibrant peaceful "
    "growing cosmopolitan industrial sprawling picturesque"
)
TRIP = _words("trip journey visit stay holiday tour weekend flight")

# Each region's cities and their countries. A wrong answer names another country of the same region.
REGIONS: dict[str, dict[str, str]] = {
    "Asia": {
        "Shanghai": "China", "Beijing": "China", "Wuhan": "China", "Tokyo": "Japan", "Osaka": "Japan",
        "Kyoto": "Japan", "Seoul": "South Korea", "Busan": "South Korea", "Mumbai": "India", "Delhi": "India",
        "Chennai": "India", "Bangkok": "Thailand", "Phuket": "Thailand", "Hanoi": "Vietnam", "Hue": "Vietnam",
        "Yangon": "Myanmar", "Mandalay": "Myanmar", "Jakarta": "Indonesia", "Bandung": "Indonesia",
        "Karachi": "Pakistan", "Lahore": "Pakistan", "Dhaka": "Bangladesh", "Kathmandu": "Nepal",
        "Tashkent": "Uzbekistan", "Almaty": "Kazakhstan",
    },
    "Europe": {
        "Paris": "France", "Lyon": "France", "Marseille": "France", "Berlin": "Germany", "Munich": "Germany",
        "Hamburg": "Germany", "Rome": "Italy", "Milan": "Italy", "Naples": "Italy", "Madrid": "Spain",
        "Seville": "Spain", "Lisbon": "Portugal", "Porto": "Portugal", "Vienna": "Austria", "Graz": "Austria",
        "Zurich": "Switzerland", "Geneva": "Switzerland", "Brussels": "Belgium", "Ghent": "Belgium",
        "Oslo": "Norway", "Bergen": "Norway", "Stockholm": "Sweden", "Helsinki": "Finland", "Copenhagen": "Denmark",
        "Warsaw": "Poland", "Krakow": "Poland", "Prague": "Czechia", "Brno": "Czechia", "Budapest": "Hungary",
        "Athens": "Greece", "Sofia": "Bulgaria", "Dublin": "Ireland", "London": "England", "Leeds": "England",
    },
    "Africa": {
        "Cairo": "Egypt", "Alexandria": "Egypt", "Lagos": "Nigeria", "Abuja": "Nigeria", "Nairobi": "Kenya",
        "Mombasa": "Kenya", "Accra": "Ghana", "Kumasi": "Ghana", "Dakar": "Senegal", "Tunis": "Tunisia",
        "Rabat": "Morocco", "Fez": "Morocco", "Algiers": "Algeria", "Oran": "Algeria", "Kampala": "Uganda",
        "Lusaka": "Zambia", "Harare": "Zimbabwe", "Maputo": "Mozambique", "Luanda": "Angola", "Kigali": "Rwanda",
    },
    "Americas": {
        "Toronto": "Canada", "Montreal": "Canada",
        "Calgary": "Canada", "Puebla": "Mexico", "Tijuana": "Mexico", "Lima": "Peru", "Cusco": "Peru",
        "Bogota": "Colombia", "Medellin": "Colombia", "Quito": "Ecuador", "Caracas": "Venezuela", "Recife": "Brazil",
        "Brasilia": "Brazil", "Santiago": "Chile", "Valparaiso": "Chile", "Mendoza": "Argentina",
        "Rosario": "Argentina", "Montevideo": "Uruguay", "Asuncion": "Paraguay", "Sucre": "Bolivia", "Havana": "Cuba",
    },
}  # fmt: skip

COUNTRY_OF = {city: country for cities in REGIONS.values() for city, country in cities.items()}
REGION_OF = {city: region for region, cities in REGIONS.items() for city in cities}
COUNTRIES = {region: tuple(dict.fromkeys(cities.values())) for region, cities in REGIONS.items()}

# The words that may fill a slot of a template, by the slot's name.
SLOTS: dict[str, tuple[str, ...]] = {
    "great": GREAT, "good": GOOD, "dull": DULL, "awful": AWFUL,
    "a_great": _with_article(GREAT), "a_good": _with_article(GOOD),
    "a_dull": _with_article(DULL), "a_awful": _with_article(AWFUL),
    "loved": LOVED, "hated": HATED, "high": HIGH_MARK, "low": LOW_MARK, "middle": MIDDLE_MARK,
    "adverb": ADVERB, "degree": DEGREE, "genre": GENRE, "aspect": ASPECT, "role": ROLE, "crew": CREW,
    "relative": RELATIVE, "moment": MOMENT, "first_name": FIRST_NAME, "last_name": LAST_NAME,
    "title_first": TITLE_FIRST, "title_second": TITLE_SECOND,
    "courtesy": COURTESY, "a_city": _with_article(CITY_KIND), "trip": TRIP,
    "city": tuple(COUNTRY_OF), "country": tuple(dict.fromkeys(COUNTRY_OF.values())),
}  # fmt: skip
