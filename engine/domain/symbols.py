"""The explicit symbol table: a whale's market enters, a venue's market with its quantity and price factors leaves.

Nothing is guessed from a ticker: a market that is not written here is mapped nowhere (`lookup` gives None and the copy is
skipped `symbol_not_mapped`). A quantity of the whale times `quantity_factor` is the venue's quantity; a price of the whale
times `price_factor` is the venue's price; the product of the two factors is 1, so quote amounts are the same on both sides.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

VENUES: Final[tuple[str, ...]] = ("binance", "binanceusdm", "bybit", "bybitlinear")
"""Column order of the table: Binance spot, Binance USD-M futures, Bybit spot, Bybit linear perpetuals."""
SPOT_VENUES: Final = frozenset({"binance", "bybit"})
ONE: Final = Decimal(1)
THOUSAND: Final = Decimal(1000)


@dataclass(frozen=True, slots=True)
class Listing:
    """One market of a venue: unified symbol, and what a whale's quantity and price are multiplied by."""

    venue_symbol: str
    quantity_factor: Decimal
    price_factor: Decimal


_PLAIN: Final = """
BTC       BTC      BTC      BTC      BTC
ETH       ETH      ETH      ETH      ETH
SOL       SOL      SOL      SOL      SOL
XRP       XRP      XRP      XRP      XRP
DOGE      DOGE     DOGE     DOGE     DOGE
ADA       ADA      ADA      ADA      ADA
TRX       TRX      TRX      TRX      TRX
LTC       LTC      LTC      LTC      LTC
BCH       BCH      BCH      BCH      BCH
BNB       BNB      BNB      BNB      BNB
LINK      LINK     LINK     LINK     LINK
AVAX      AVAX     AVAX     AVAX     AVAX
SUI       SUI      SUI      SUI      SUI
DOT       DOT      DOT      DOT      DOT
UNI       UNI      UNI      UNI      UNI
AAVE      AAVE     AAVE     AAVE     AAVE
NEAR      NEAR     NEAR     NEAR     NEAR
APT       APT      APT      APT      APT
ARB       ARB      ARB      ARB      ARB
OP        OP       OP       OP       OP
ATOM      ATOM     ATOM     ATOM     ATOM
FIL       FIL      FIL      FIL      FIL
INJ       INJ      INJ      INJ      INJ
SEI       SEI      SEI      SEI      SEI
TIA       TIA      TIA      TIA      TIA
ETC       ETC      ETC      ETC      ETC
XLM       XLM      XLM      XLM      XLM
HBAR      HBAR     HBAR     HBAR     HBAR
ALGO      ALGO     ALGO     ALGO     ALGO
ICP       ICP      ICP      ICP      ICP
CRV       CRV      CRV      CRV      CRV
LDO       LDO      LDO      LDO      LDO
MKR       MKR      MKR      MKR      MKR
COMP      COMP     COMP     COMP     COMP
SNX       SNX      SNX      SNX      SNX
DYDX      DYDX     DYDX     DYDX     DYDX
GMX       GMX      GMX      GMX      GMX
JUP       JUP      JUP      JUP      JUP
PYTH      PYTH     PYTH     PYTH     PYTH
STRK      STRK     STRK     STRK     STRK
STX       STX      STX      STX      STX
IMX       IMX      IMX      IMX      IMX
RENDER    RENDER   RENDER   RENDER   RENDER
FET       FET      FET      FET      FET
TAO       TAO      TAO      TAO      TAO
WIF       WIF      WIF      WIF      WIF
TRUMP     TRUMP    TRUMP    TRUMP    TRUMP
PENGU     PENGU    PENGU    PENGU    PENGU
POL       POL      POL      POL      POL
S         S        S        S        S
BERA      BERA     BERA     BERA     BERA
EIGEN     EIGEN    EIGEN    EIGEN    EIGEN
ZRO       ZRO      ZRO      ZRO      ZRO
ZK        ZK       ZK       ZK       ZK
W         W        W        W        W
ORDI      ORDI     ORDI     ORDI     ORDI
MOVE      MOVE     MOVE     MOVE     MOVE
IP        IP       IP       IP       IP
SPX       -        SPX      SPX      SPX
MNT       -        MNT      MNT      MNT
HYPE      -        HYPE     HYPE     HYPE
PUMP      PUMP     PUMP     PUMP     PUMP
ACE       ACE      ACE      ACE      ACE
ONDO      ONDO     ONDO     ONDO     ONDO
WLD       WLD      WLD      WLD      WLD
KAITO     KAITO    KAITO    KAITO    KAITO
LIT       -        LIT      LIT      LIT
GRAM      -        -        -        GRAM
CASHCAT   -        CASHCAT  -        CASHCAT
RESOLV    RESOLV   RESOLV   RESOLV   RESOLV
VIRTUAL   VIRTUAL  VIRTUAL  VIRTUAL  VIRTUAL
FARTCOIN  -        FARTCOIN FARTCOIN FARTCOIN
ZEC       ZEC      ZEC      ZEC      ZEC
AERO      -        AERO     AERO     AERO
ENA       ENA      ENA      ENA      ENA
XPL       XPL      XPL      XPL      XPL
0G        0G       0G       0G       0G
PENDLE    PENDLE   PENDLE   PENDLE   PENDLE
POPCAT    -        POPCAT   POPCAT   POPCAT
JTO       JTO      JTO      JTO      JTO
ETHFI     ETHFI    ETHFI    ETHFI    ETHFI
MERL      -        MERL     MERL     MERL
ASTER     ASTER    ASTER    ASTER    ASTER
WLFI      WLFI     WLFI     WLFI     WLFI
PAXG      PAXG     PAXG     PAXG     PAXG
MELANIA   -        MELANIA  MELANIA  MELANIA
MOODENG   -        MOODENG  MOODENG  MOODENG
GOAT      -        GOAT     GOAT     GOAT
GRASS     -        GRASS    GRASS    GRASS
SNT       -        SNT      -        -
ZRX       -        ZRX      -        ZRX
TRIA      -        TRIA     -        TRIA
"""
"""Whale's coin, then the base on each of `VENUES`; `-` means not listed there."""

_THOUSANDS: Final = """
KBONK   1000BONK  BONK   BONK   1000BONK   BONK   1000BONK
KPEPE   1000PEPE  PEPE   PEPE   1000PEPE   PEPE   1000PEPE
KSHIB   1000SHIB  SHIB   SHIB   1000SHIB   SHIB   SHIB1000
KFLOKI  1000FLOKI FLOKI  FLOKI  1000FLOKI  FLOKI  1000FLOKI
KLUNC   1000LUNC  LUNC   LUNC   1000LUNC   -      1000LUNC
KNEIRO  1000NEIRO NEIRO  NEIRO  -          NEIRO  1000NEIROCTO
KDOGS   1000DOGS  DOGS   DOGS   -          DOGS   -
"""
"""Coins traded by the thousand: Hyperliquid's name, the USDT perpetual's, spot's; then the base on each of `VENUES`, where spot
counts single coins and futures count thousands."""


def _listing(venue: str, base: str, thousand_of_whale: bool, thousand_of_venue: bool) -> Listing:
    symbol = f"{base}/USDT" if venue in SPOT_VENUES else f"{base}/USDT:USDT"
    factor = (THOUSAND if thousand_of_whale else ONE) / (THOUSAND if thousand_of_venue else ONE)
    return Listing(symbol, factor, ONE / factor)


def _build() -> dict[tuple[str, str], Listing]:
    table: dict[tuple[str, str], Listing] = {}
    for coin, *bases in (line.split() for line in _PLAIN.split("\n") if line):
        for source in (f"{coin}/USDC:USDC", f"{coin}/USDT:USDT", f"{coin}/USDT"):
            table |= {(source, venue): _listing(venue, base, False, False) for venue, base in _listed(bases)}
    for hyperliquid, perpetual, spot, *bases in (line.split() for line in _THOUSANDS.split("\n") if line):
        for source, thousand in ((f"{hyperliquid}/USDC:USDC", True), (f"{perpetual}/USDT:USDT", True), (f"{spot}/USDT", False)):
            table |= {(source, venue): _listing(venue, base, thousand, venue not in SPOT_VENUES) for venue, base in _listed(bases)}
    return table


def _listed(bases: list[str]) -> Iterator[tuple[str, str]]:
    return ((venue, base) for venue, base in zip(VENUES, bases, strict=True) if base != "-")


_TABLE: Final = _build()


def lookup(whale_symbol: str, venue: str) -> Listing | None:
    """The market of `venue` that stands for the whale's market (unified symbol), or None: not mapped, do not copy."""
    return _TABLE.get((whale_symbol, venue))


def mapped() -> Iterator[tuple[str, str, Listing]]:
    """Every row as (whale symbol, venue, listing); the exchange simulator lists each of these markets."""
    return ((symbol, venue, listing) for (symbol, venue), listing in _TABLE.items())
