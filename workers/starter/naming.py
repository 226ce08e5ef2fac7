"""What CLINC150's intents are called: domains, coarse groups, paraphrased names, and which intents are held out.

Knows label words only; it must not read rows or know prompt formats.
"""

# ruff: noqa: E501, SIM905 (tables of words read best as text)

from __future__ import annotations

import random

# Three intents of each domain are never trained on, neither their rows nor their names.
HELD_OUT_INTENTS = frozenset(
    """
    report_fraud order_checks interest_rate card_declined international_fees replacement_card_duration
    cook_time restaurant_reservation ingredient_substitution play_music order_status smart_home
    tire_pressure gas_type jump_start book_hotel lost_luggage vaccines weather alarm calculator
    payday taxes schedule_meeting tell_joke goodbye do_you_have_pets change_volume change_language reset_settings
    """.split()
)

_DOMAINS = """
banking, bank account, money | freeze_account routing pin_change bill_due pay_bill account_blocked min_payment bill_balance transfer balance spending_history transactions
credit card, cards | expiration_date damaged_card improve_credit_score report_lost_card credit_limit_change apr redeem_rewards credit_limit rewards_balance application_status credit_score new_card
food, kitchen and dining, cooking | recipe meal_suggestion calories nutrition_info ingredients_list food_last restaurant_reviews confirm_reservation how_busy cancel_reservation accept_reservations restaurant_suggestion
home, household, lists and music | shopping_list shopping_list_update next_song update_playlist todo_list todo_list_update calendar calendar_update what_song order reminder reminder_update
car, auto and commute, driving | traffic directions gas distance current_location mpg oil_change_when oil_change_how uber schedule_maintenance last_maintenance tire_change
travel, trips, holidays abroad | book_flight car_rental travel_suggestion travel_alert travel_notification carry_on timezone translate flight_status international_visa plug_type exchange_rate
utility, everyday tools, phone | time share_location find_phone text spelling make_call timer date measurement_conversion flip_coin roll_dice definition
work, job, office and payroll | direct_deposit pto_request w2 pto_balance pto_request_status next_holiday insurance insurance_change pto_used meeting_schedule rollover_401k income
small talk, chat, conversation | greeting where_are_you_from how_old_are_you what_is_your_name who_made_you thank_you what_can_i_ask_you what_are_your_hobbies are_you_a_bot meaning_of_life who_do_you_work_for fun_fact
assistant settings, device settings, the assistant itself | change_ai_name change_user_name cancel user_name whisper_mode repeat no yes maybe change_accent change_speed sync_device
"""

_GROUPS = """
card problem, trouble with a card, card issue | damaged_card report_lost_card expiration_date
getting a card, card application | new_card application_status
security, account access, locked account | freeze_account account_blocked pin_change
bills, billing, bill payment | bill_due pay_bill min_payment bill_balance
account activity, statements | balance spending_history transactions
rewards, points | redeem_rewards rewards_balance
credit, credit rating | credit_score improve_credit_score credit_limit credit_limit_change apr
money transfer, moving money | transfer direct_deposit rollover_401k
recipes, how to cook | recipe ingredients_list meal_suggestion
nutrition, healthy eating | calories nutrition_info
restaurants, eating out | restaurant_reviews restaurant_suggestion how_busy accept_reservations
bookings, reservations | confirm_reservation cancel_reservation book_flight car_rental
lists, to do | shopping_list shopping_list_update todo_list todo_list_update
schedule, appointments | calendar calendar_update meeting_schedule reminder reminder_update
songs, audio | next_song update_playlist what_song
shopping, purchases | order shopping_list
car care, vehicle maintenance | oil_change_when oil_change_how schedule_maintenance last_maintenance tire_change
route, getting there | traffic directions distance uber
fuel | gas mpg
flights, air travel | book_flight flight_status carry_on
travel advice, going abroad | travel_alert travel_suggestion international_visa plug_type
language help, words | translate spelling definition
clock, date and time | time timezone date timer next_holiday
phone calls and messages, contact someone | make_call text find_phone share_location
games of chance, randomness | flip_coin roll_dice
time off, vacation days | pto_request pto_balance pto_request_status pto_used
salary, pay and tax forms | income direct_deposit w2
insurance, benefits | insurance insurance_change
about the assistant, who are you | what_is_your_name who_made_you how_old_are_you where_are_you_from are_you_a_bot who_do_you_work_for
manners, polite words | greeting thank_you
personal details, profile | change_user_name user_name
voice, how it speaks | whisper_mode change_accent change_speed repeat
"""

_NAMES = """
freeze_account | block my account, stop account access, account freeze
routing | routing number, bank code
pin_change | new pin, change of pin, reset pin number
bill_due | payment deadline, when a bill is due, due date
pay_bill | bill payment, paying a bill, settle an invoice
account_blocked | locked account, account on hold, access denied
min_payment | minimum payment, smallest amount to pay
bill_balance | amount owed, bill total, how much the bill is
transfer | money transfer, send money, move funds
balance | account balance, money available, funds in account
spending_history | past spending, money spent, spending report
transactions | recent transactions, account activity, purchases made
expiration_date | card expiry, when a card expires, expired card
damaged_card | broken card, card damage, card does not work
improve_credit_score | raise credit score, better credit, build credit
report_lost_card | lost card, missing card, stolen card
credit_limit_change | raise credit limit, higher limit, limit increase
apr | annual percentage rate, card interest
redeem_rewards | use points, spend rewards, cash in points
credit_limit | spending limit, maximum credit
rewards_balance | points earned, reward points, how many points
application_status | application progress, is my application approved, card application
credit_score | credit rating, check credit
new_card | apply for a card, get a card, card request
recipe | how to cook, cooking instructions, make a dish
meal_suggestion | dinner idea, what to eat, food recommendation
calories | calorie count, energy in food
nutrition_info | nutrition facts, healthy food, vitamins and fat
ingredients_list | ingredients, what goes in a dish
food_last | shelf life, how long food keeps, spoiled food
restaurant_reviews | restaurant rating, is a restaurant good, diner opinions
confirm_reservation | reservation check, confirm a booking
how_busy | waiting time, crowds, how full a place is
cancel_reservation | cancel a booking, booking cancellation
accept_reservations | takes reservations, can one book a table
restaurant_suggestion | place to eat, find a restaurant
shopping_list | grocery list, things to buy
shopping_list_update | add groceries, edit shopping list
next_song | skip song, next track
update_playlist | add song to playlist, save a song
todo_list | tasks, chores, things to do
todo_list_update | add a task, edit tasks
calendar | agenda, events of the day, appointments
calendar_update | add an event, calendar entry
what_song | song title, name of this tune, recognize music
order | buy something, place an order, purchase
reminder | reminders, what to remember
reminder_update | remind me, set a reminder
traffic | traffic jam, road conditions, commute
directions | route, the way to a place, navigation
gas | fuel level, petrol left, gas in tank
distance | how far, travel time, miles away
current_location | where am i, my position
mpg | fuel economy, gas mileage, miles per gallon
oil_change_when | oil change due, time for new oil
oil_change_how | changing oil, oil change steps
uber | taxi, call a ride, cab
schedule_maintenance | car service appointment, book a mechanic, car check
last_maintenance | latest car service, service history
tire_change | flat tire, change a tire, new tires
book_flight | plane ticket, flight booking, buy a flight
car_rental | rent a car, hire car, rental vehicle
travel_suggestion | sightseeing, things to see, tourist tips
travel_alert | travel warning, is it safe to travel, travel safety
travel_notification | tell the bank about a trip, going abroad notice
carry_on | hand luggage, cabin bag rules, baggage rules
timezone | time zone, time difference
translate | translation, say it in another language, foreign words
flight_status | flight delay, is the flight on time, departure time
international_visa | visa, travel papers, entry permit
plug_type | power adapter, socket converter, electric plug
exchange_rate | currency rate, foreign currency value, convert money
time | what time it is, clock
share_location | send my location, location sharing
find_phone | lost phone, where is my phone, missing phone
text | send a message, text message, sms
spelling | how to spell, letters of a word
make_call | phone call, call someone, dial
timer | countdown, set a timer
date | today's date, what day it is
measurement_conversion | unit conversion, convert units, metric
flip_coin | coin toss, heads or tails
roll_dice | dice, throw a die
definition | meaning of a word, dictionary, define
direct_deposit | salary to bank account, set up direct deposit, automatic pay
pto_request | request vacation, ask for time off, day off
w2 | tax form, wage statement
pto_balance | vacation days left, remaining days off
pto_request_status | vacation approval, was time off approved
next_holiday | public holiday, next day off
insurance | health plan, coverage, insurance benefits
insurance_change | new insurance, switch health plan
pto_used | days off taken, vacation used
meeting_schedule | my meetings, meetings today
rollover_401k | retirement account, pension transfer
income | salary, earnings, wages
greeting | hello, welcome, say hi
where_are_you_from | origin, birthplace, home country
how_old_are_you | age, how old
what_is_your_name | assistant name, name question
who_made_you | creator, maker, who built you
thank_you | thanks, gratitude, appreciation
what_can_i_ask_you | help topics, abilities, what you can do
what_are_your_hobbies | hobbies, free time, fun activities
are_you_a_bot | human or machine, is this a robot
meaning_of_life | philosophy, purpose of life
who_do_you_work_for | employer, boss, company you work for
fun_fact | trivia, interesting fact, something interesting
change_ai_name | rename the assistant, new assistant name
change_user_name | call me something else, new user name
cancel | stop, never mind, abort
user_name | my name, who am i
whisper_mode | quiet voice, speak softly
repeat | say again, repetition
no | negative, refusal, disagree
yes | affirmative, agreement, confirm
maybe | unsure, not certain, perhaps
change_accent | different accent, other voice
change_speed | speak faster or slower, talking speed
sync_device | connect a phone, pair devices, link device
"""


def _table(text: str) -> list[tuple[list[str], list[str]]]:
    """Lines 'a, b | c d' as (comma-separated names, space-separated members)."""
    rows = (line.split("|") for line in text.strip().splitlines())
    return [([name.strip() for name in left.split(",")], right.split()) for left, right in rows]


DOMAINS = _table(_DOMAINS)
GROUPS = _table(_GROUPS)
PARAPHRASES: dict[str, list[str]] = {
    left.strip(): [name.strip() for name in right.split(",")] for left, right in (line.split("|") for line in _NAMES.strip().splitlines())
}
TRAINED_INTENTS = sorted(PARAPHRASES)
DOMAIN_OF = {intent: index for index, (_, members) in enumerate(DOMAINS) for intent in members}


def plain_name(intent: str) -> str:
    return intent.replace("_", " ")


def held_out_names() -> set[str]:
    return {plain_name(intent) for intent in HELD_OUT_INTENTS}


def trained_names() -> list[str]:
    """Every name that training uses: of intents, of their groups and of their domains."""
    coarse = [name for names, _ in DOMAINS + GROUPS for name in names]
    return coarse + [name for intent in TRAINED_INTENTS for name in (plain_name(intent), *PARAPHRASES[intent])]


def name_of(intent: str, rng: random.Random) -> str:
    """The intent's own name half of the time, otherwise a paraphrase; underscores now and then."""
    name = plain_name(intent) if rng.random() < 0.45 else rng.choice(PARAPHRASES[intent])
    return name.replace(" ", "_") if rng.random() < 0.12 else name
