"""Words of which generated libraries make their titles, people and summaries."""

from __future__ import annotations

# In alphabetical order, as the titles made of them must be.
_FIRST_WORDS = """
Amber Autumn Bitter Blind Borrowed Broken Buried Burning Captive Careless Cold Common Copper Crimson Crooked
Dancing Deep Distant Divided Double Eager Early Eastern Electric Empty Endless Faded Fallen Familiar Final
Foreign Forgotten Fragile Frozen Gentle Ghostly Golden Grand Hidden Hollow Honest Hungry Idle Iron Jagged
Kindred Last Little Lonely Lost Loud Lunar Marble Merry Midnight Missing Modern Naked Narrow Nervous Northern
Novel Odd Open Orphan Paper Patient Perfect Phantom Plain Public Quiet Random Rapid Reckless Restless Rolling
Royal Rusted Sacred Salted Scarlet Second Secret Seven Silent Silver Simple Sleeping Southern Stolen Strange
Sudden Sunken Tender Thin Third Thirsty Torn Twisted Unknown Velvet Violet Wandering Western Wild Winter
Wooden Yellow Young Zealous
"""
_SECOND_WORDS = """
Affair Anthem Balcony Bargain Bridge Candle Canyon Carousel Circus Coast Corridor Crossing Desert Echo Empire
Engine Evening Ferry Fever Fortune Frontier Garden Harbour Harvest Highway Horizon Hunter Island Journey
Kingdom Lantern Legacy Letter Lighthouse Machine Mirror Mountain Neighbour Ocean Orchard Palace Parade
Passenger Promise Quarter Railway Return River Season Shadow Signal Station Stranger Summer Theatre Tide Tower
Traveller Valley Village Voyage Window Witness
"""
FIRST = tuple(_FIRST_WORDS.split())
SECOND = tuple(_SECOND_WORDS.split())
ACCENTS = (
    " d’Été",
    " 東京",
    " Über München",
    " — Москва",
    " Smørrebrød",
    "\xa0II",
    " “La Niña”",
    " 한국",
)
_GIVEN_NAMES = """
Ada Bruno Chloé Dmitri Elif Farid Greta Hiro Inés Jonas Kwame Leila Martín Nora Olu Priya
"""
_FAMILY_NAMES = """
Abrams Berg Castillo Duarte Eriksen Fontaine García Holm Ito Jansen Kovač Larsen
"""
PEOPLE = tuple(f"{given} {family}" for given in _GIVEN_NAMES.split() for family in _FAMILY_NAMES.split())
GENRES = (
    "Action",
    "Adventure",
    "Animation",
    "Comedy",
    "Crime",
    "Documentary",
    "Drama",
    "Family",
    "Fantasy",
    "Horror",
    "Mystery",
    "Thriller",
)
COUNTRIES = (
    "United States of America",
    "United Kingdom",
    "France",
    "Germany",
    "Japan",
    "Canada",
    "México",
)
STUDIOS = (
    "North Pier Pictures",
    "Bluebell Films",
    "Studio Café",
    "Ninth Street",
    "Harbour & Sons",
    "Ostrava Film",
)
CONTENT_RATINGS = (
    "G",
    "PG",
    "PG-13",
    "R",
    "Not Rated",
    "gb/15",
)
TV_RATINGS = (
    "TV-Y7",
    "TV-G",
    "TV-PG",
    "TV-14",
    "TV-MA",
)
SENTENCES = (
    "A cartographer finds a street that is on none of her maps.",
    "Two brothers inherit a ferry, a debt and a quarrel older than either of them.",
    "When the mill closes, the town’s choir decides to go on tour instead.",
    "An insurance clerk is mistaken for a composer and rather enjoys it.",
    "Nobody in the valley will say who rings the bell, least of all the bell-ringer.",
    "She has one summer to learn the trade, and he has one summer to forget it.",
    "The last train leaves with the wrong passenger, the wrong suitcase and the right letter.",
    "A retired judge reopens the only case that she ever got wrong.",
    "What begins as a bet among friends ends as a matter for three governments.",
    "The lighthouse keeper’s diary stops on a Tuesday; the light does not.",
)
