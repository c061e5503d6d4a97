"The corners of `ftkit.words`: one idea of a word for all scripts."
import re
import unicodedata

import pytest
from hypothesis import given, strategies as st

from ftkit.data.near import near_duplicate_groups
from ftkit.evals import metrics as M
from ftkit.panels.parts import word_diff
from ftkit.words import MARKS, standing_alone, text_pieces, text_words, word_spans

QUESTIONS = dict( # four different questions each
    hindi=['मेरा ऑर्डर कहाँ है?', 'क्या मैं पैसे वापस ले सकता हूँ?', 'आपका स्टोर कब खुलता है?', 'मुझे नया पासवर्ड चाहिए'],
    thai=['พัสดุของฉันอยู่ที่ไหน', 'ขอเงินคืนได้ไหม', 'ร้านเปิดกี่โมง', 'ฉันลืมรหัสผ่าน'],
    chinese=['我的包裹在哪里?', '我可以退款吗?', '你们几点开门?', '我忘记了密码'],
    japanese=['荷物はどこですか?', '返金できますか?', '何時に開店しますか?', 'パスワードを忘れました'],
    arabic=['أين طلبي؟', 'هل يمكنني استرداد المال؟', 'متى يفتح المتجر؟', 'نسيت كلمة المرور'],
    khmer=['កញ្ចប់របស់ខ្ញុំនៅឯណា', 'តើខ្ញុំអាចយកប្រាក់វិញបានទេ', 'ហាងបើកម៉ោងប៉ុន្មាន', 'ខ្ញុំភ្លេចពាក្យសម្ងាត់'],
    emoji=['👍', '👎', '❤️', '🇩🇪'])

@pytest.mark.parametrize('script', QUESTIONS)
def test_different_questions_are_different_and_the_same_question_is_the_same(script):
    asked = QUESTIONS[script]
    assert near_duplicate_groups(asked)==[0, 1, 2, 3]
    assert near_duplicate_groups([q.rstrip('?؟') for q in asked]+asked)==[0, 1, 2, 3]*2, 'but for the question mark'

@pytest.mark.parametrize('text, words', [
    ('कैसे हैं?', ['कैसे', 'हैं']), ('ที่ไหน', ['ที่', 'ไ', 'ห', 'น']), ('返金、して', ['返', '金', 'し', 'て']), ('コーヒー・紅茶', list('コーヒー紅茶')), ('ｺｰﾋｰ', list('コーヒー')),
    ('한국어', list('한국어')), ('한', ['한']), ('رقم الطَّلَب', ['رقم', 'الطَّلَب']), ('مـرحبا', ['مرحبا']), ('می\u200cخواهم', ['میخواهم']),
    ('Ọ̀yọ́', ['ọ̀yọ́']), ('a\u0301', ['á']), ('STRASSE Straße', ['strasse']*2), ('co\u00adop', ['coop']), ('👩🏽\u200d💻 ok', ['👩🏽', '💻', 'ok']), ('❤️', ['❤']), ('🇩🇪🇫🇷', ['🇩🇪', '🇫🇷']),
    ('🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f', ['🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f']), ('ok返金ok', ['ok', '返', '金', 'ok']), ('𐤀𐤁 𑀓𑀺', ['𐤀𐤁', '𑀓𑀺']),
    ("don't-stop_it 4,5", ['don', 't', 'stop_it', '4', '5']), ('?!', ['?!']), ('', [])])
def test_words_of_a_text(text, words): assert text_words(text)==words

@given(st.text(st.characters(max_codepoint=127)))
def test_english_has_the_words_it_always_had(text): assert text_words(text)==(re.findall(r'\w+', text.casefold()) or text.split())

@given(st.text())
def test_how_a_text_is_encoded_makes_no_difference(text):
    assert text_words(unicodedata.normalize('NFD', text))==text_words(unicodedata.normalize('NFC', text))

@given(st.text())
def test_the_pieces_are_the_text(text):
    pieces, spans = text_pieces(text), word_spans(text)
    assert ''.join(pieces)==text
    assert {text[a:b] for a,b in spans}<=set(pieces)

def test_every_mark_of_unicode_is_known():
    inside = re.compile(f'[{MARKS}]')
    marks = [chr(n) for n in range(0x110000) if unicodedata.category(chr(n))[0]=='M']
    assert all(inside.fullmatch(c) for c in marks)
    assert not any(inside.fullmatch(c) for c in 'aßक返ท한 -1')

@pytest.mark.parametrize('name, text, there', [
    ('Ann', 'Annual', False), ('Ann', 'JoAnn', False), ('Ann', '请联系Ann先生', True), ('王小明', '我叫王小明。', True), ('राम', 'रामा', False), ('राम', 'श्रीराम', False), ('राम', 'राम।', True),
    ('김철수', '김철수가', True), ('Zoe', 'Zoe\u0301', False), ('C++', 'C++ or C', True), ('Иван', 'Иванов', False), ('Иван', 'Иван,', True)])
def test_a_name_stands_alone_or_not(name, text, there): assert bool(re.search(standing_alone(name), text)) is there

@pytest.mark.parametrize('truth, near, far', [
    ('返金は三日以内に処理されます。', '返金は三日以内に処理します。', 'パスワードを忘れました'), ('आपका ऑर्डर कल आएगा', 'आपका ऑर्डर परसों आएगा', 'क्या चाहिए'), ('พัสดุจะมาถึงพรุ่งนี้', 'พัสดุจะถึงพรุ่งนี้', 'ลืมรหัส')])
def test_overlap_of_words_tells_a_near_answer_from_a_far_one(truth, near, far):
    same, close, other = M.token_f1([truth, near, far], [truth]*3)
    assert same==1 and close>=.7 and other<.5

def test_an_accent_in_two_pieces_is_the_same_answer_label_and_field():
    one, two = 'Café', 'Cafe\u0301'
    assert M.exact([one], [two])[0]==1 and M.outside([two], [one])[0]==0
    assert M.field_rows([f'{{"place": "{one}"}}'], [f'{{"place": "{two}"}}'])['f1'][0]==1

def test_a_marked_up_difference_cuts_between_words():
    assert word_diff('नमस्ते राम', 'नमस्ते रामा').count('<del')==1 and '<ins style="background:#dfd">रामा</ins>' in word_diff('नमस्ते राम', 'नमस्ते रामा')
    assert '>三</del>' in word_diff('返金は三日', '返金は五日')
