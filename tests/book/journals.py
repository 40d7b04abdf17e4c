"""Every journal beside the plain job as a story in words: played by tests, printed in docs/ledger.md."""

from __future__ import annotations

JOURNALS = {
    "card": """
        card bob 20000 sat as d1
        expect bob:card 20000 bob 0 receivable -20000
    """,
    "card-settled": """
        card bob 20000 sat as d1
        settle-card 20000 fee 650 bank 19400
        expect receivable 0 bank -19400 card-expense -650 fx-expense 50
    """,
    "job-by-card": """
        fund node 50000 sat
        card bob 20000 sat as d1
        hold bob 12000 sat for job1 promo 7660
        capture job1 alice 2000 carol 1000 dave 500 grace 300 heidi 300 platform 7900
        expect bob:card 8000 platform:card 7900 alice:maturing 2000 carol:maturing 1000 alice 0 hold:job1:card 0
        mature
        expect alice 2000 alice:maturing 0 capital 50000
    """,
    "job-by-promo": """
        bonus bob 3000 sat
        top-up bob 12000 sat
        hold bob 12000 sat for job1 promo 7660
        capture job1 alice 2000 carol 1000 dave 500 eve 120 frank 120 grace 300 heidi 300 platform 7660
        expect bob 3000 bob:promo 0 platform:promo 3000 platform 4660 alice 2000 eve 120 promotions -3000
    """,
    "job-by-all": """
        bonus bob 5000 sat
        card bob 4000 sat as d1
        top-up bob 10000 sat
        hold bob 12000 sat for job1 promo 7660
        expect bob:promo 0 bob:card 0 bob 7000 hold:job1:promo 5000 hold:job1:card 4000 hold:job1 3000
        capture job1 alice 2000 carol 1000 dave 500 grace 300 heidi 300 platform 7900
        expect platform:promo 5000 platform:card 2900 platform 0 alice 1463415msat alice:maturing 536585msat
    """,
    "card-charge-below-hold": """
        card bob 3000 sat as d1
        card bob 4000 sat as d2
        hold bob 6000 sat for job1
        expect bob:card 1000 hold:job1:card 6000
        capture job1 alice 1000 platform 1000
        expect bob:card 5000 alice:maturing 1000 platform:card 1000 hold:job1:card 0
    """,
    "own-card-money": """
        card bob 12000 sat as d1
        hold bob 12000 sat for job1
        capture job1 bob 6000 carol 2000 platform 4000
        expect bob:card 6000 bob 0 bob:maturing 0 carol:maturing 2000 platform:card 4000
    """,
    "company": """
        card bob 20000 sat as d1 for acme
        bonus acme 1000 sat
        hold acme 12000 sat for job1 promo 7660
        capture job1 mallory 3000 carol 1000 platform 8000
        expect acme:card 9000 acme:promo 0 mallory:card 3000 mallory 0 carol:maturing 1000
    """,
    "job-released": """
        bonus bob 1000 sat
        card bob 5000 sat as d1
        top-up bob 6000 sat
        hold bob 12000 sat for job1 promo 7660
        release job1
        expect bob:promo 1000 bob:card 5000 bob 6000 hold:job1 0 hold:job1:card 0 hold:job1:promo 0
    """,
    "job-refunded": """
        card bob 5000 sat as d1
        top-up bob 10000 sat
        hold bob 12000 sat for job1 promo 7660
        capture job1 alice 2000 carol 1000 dave 500 grace 300 heidi 300 platform 7900
        refund job1
        expect bob:card 5000 bob 10000 alice 2000 platform -4100 platform:card 0
    """,
    "advanced": """
        fund node 50000 sat
        card bob 20000 sat as d1
        hold bob 12000 sat for job1
        capture job1 alice 2000 carol 1000 dave 500 grace 300 heidi 300 platform 7900
        advance 1500 sat a day
        expect alice 1500 alice:maturing 500 capital 50000
        dispute d1
        expect alice 1500 alice:maturing 0 bob:card 0 bob:owed -9400 receivable 0
    """,
    "dispute-lost": """
        card bob 20000 sat as d1
        hold bob 12000 sat for job1
        capture job1 alice 2000 carol 1000 dave 500 grace 300 heidi 300 platform 7900
        dispute d1
        expect bob:card 0 alice:maturing 0 carol:maturing 0 bob:owed -7900 receivable 0
        lose d1
        top-up bob 5000 sat
        expect bob 0 bob:owed -2900
        write-off d1
        expect bob:owed 0 losses -2900
    """,
    "dispute-won": """
        card bob 20000 sat as d1
        hold bob 12000 sat for job1
        capture job1 alice 2000 carol 1000 dave 500 grace 300 heidi 300 platform 7900
        dispute d1
        top-up bob 5000 sat
        win d1
        expect bob:card 8000 alice:maturing 2000 carol:maturing 1000 bob:owed 0 bob 5000 receivable -20000
    """,
    "dispute-while-held": """
        card bob 12000 sat as d1
        hold bob 12000 sat for job1
        dispute d1
        expect bob:owed -12000 hold:job1:card 12000 receivable 0
        release job1
        collect d1
        expect bob:owed 0 bob:card 0
    """,
    "dispute-in-part": """
        fund node 50000 sat
        card bob 20000 sat as d1
        hold bob 12000 sat for job1
        capture job1 alice 4000 platform 8000
        dispute d1 9000
        expect bob:card 0 alice:maturing 3000 bob:owed 0 receivable -11000
        lose d1
        mature
        expect alice 3000 alice:maturing 0
    """,
    "dispute-written-off-while-held": """
        card bob 12000 sat as d1
        hold bob 12000 sat for job1
        dispute d1
        write-off d1
        expect bob:owed 0 losses -12000
        capture job1 alice 4000 platform 8000
        collect d1
        expect alice:maturing 0 losses -8000
    """,
    "dispute-won-late": """
        card bob 12000 sat as d1
        hold bob 12000 sat for job1
        capture job1 platform 12000
        dispute d1
        write-off d1
        win d1
        expect losses 0 bob:owed 0 bob:card 0 bob 0 receivable -12000 platform:card 12000
    """,
    "debt-paid-by-card": """
        card bob 5000 sat as d1
        hold bob 5000 sat for job1
        capture job1 platform 5000
        dispute d1
        card bob 8000 sat as d2
        expect bob:owed 0 bob:card 3000
        win d1
        expect bob:card 8000 bob 0 receivable -13000
    """,
    "deposit-reversed": """
        move onchain bob 10000 sat
        hold bob 6000 sat for job1
        reverse bob 10000 sat
        expect bob 0 bob:owed -6000 onchain 0
        release job1
        expect bob 6000 bob:owed -6000
    """,
    "bonus": """
        bonus bob 500 sat
        expect bob:promo 500 promotions -500
    """,
    "bulk": """
        bulk-top-up acme 1000000 sat bonus 5 from 1000000
        expect acme 1000000 acme:promo 50000 promotions -50000
        bulk-top-up acme 999999 sat bonus 5 from 1000000
        expect acme 1999999 acme:promo 50000
    """,
    "company-dissolved": """
        bulk-top-up acme 1000000 sat bonus 5 from 1000000
        hold acme 100000 sat for job1 promo 50000
        capture job1 alice 50000 platform 50000
        expect acme 950000 acme:promo 0 alice 50000 platform:promo 50000
        dissolve acme to bob
        expect acme 0 bob 902500 promotions -2500
    """,
    "card-settled-below-zero": """
        card bob 20000 sat as d1
        settle-card 20000 fee 650 bank 19350
        dispute d1
        expect receivable 20000
        settle-card -20000 fee 1500 bank -21500
        expect receivable 0 bank 2150 card-expense -2150 bob:card 0
    """,
    "internal-payment": """
        top-up bob 1000 sat
        pay bob alice 400 sat
        expect bob 600 alice 400 node -1000
    """,
    "onchain-batch": """
        fund onchain 10000 sat
        top-up alice 1040 sat
        top-up dave 2300 sat
        hold-out alice 1000 sat reserve 40
        hold-out dave 2000 sat reserve 300
        batch fee 75 alice 1000 dave 2000
        expect alice 2500msat dave 262500msat onchain -6925 fees 0
    """,
    "channel": """
        fund onchain 500000 sat
        open-channel 400000 fee 200 pushed 1000
        expect onchain -99800 node -399000 onchain-expense -200 lightning-expense -1000
        close-channel 399000 fee 150
        expect onchain -498650 node 0 onchain-expense -350
    """,
    "routing-income": """
        routed 1005 on 1000
        expect routing 5 node -5
    """,
}
