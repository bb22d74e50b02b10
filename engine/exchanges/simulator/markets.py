"""Markets of the simulated venues: the symbol table enters, one `Market` with filters that fit its price scale leaves for each row.

Filters of the large coins are the venues' real ones; the others follow the venues' habits (five significant price digits, lot
steps worth a few cents). `REFERENCE` is the price that the path starts from, in the whale's units.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from engine.domain.symbols import SPOT_VENUES, lookup, mapped
from engine.exchanges.simulator.model import Market

_PRICES: Final = """
BTC 63908 ETH 3480 SOL 168 XRP 2.21 DOGE 0.17 ADA 0.61 TRX 0.29 LTC 47.24 BCH 223.5 BNB 655 LINK 14.2 AVAX 21.5 SUI 3.1 DOT 4.05
UNI 3.52 AAVE 270 NEAR 2.6 APT 4.6 ARB 0.42 OP 0.72 ATOM 4.5 FIL 2.5 INJ 12.4 SEI 0.28 TIA 1.9 ETC 20.1 XLM 0.39 HBAR 0.24 ALGO 0.25
ICP 5.3 CRV 0.85 LDO 1.05 MKR 1750 COMP 46 SNX 0.65 DYDX 0.62 GMX 14.3 JUP 0.49 PYTH 0.12 STRK 0.13 STX 0.72 IMX 0.53 RENDER 3.7 FET 0.68
TAO 360 WIF 0.98 TRUMP 9.4 PENGU 0.034 POL 0.23 S 0.32 BERA 2.1 EIGEN 1.35 ZRO 1.95 ZK 0.055 W 0.08 ORDI 8.7 MOVE 0.14 IP 5.4 SPX 1.4
MNT 1.1 HYPE 61.5 PUMP 0.002 ACE 0.12 ONDO 0.36 WLD 0.36 KAITO 0.94 LIT 2.18 GRAM 1.54 CASHCAT 0.072 RESOLV 0.0196 VIRTUAL 0.65
FARTCOIN 0.137 ZEC 552 AERO 0.44 ENA 0.082 XPL 0.0855 0G 0.175 PENDLE 1.64 POPCAT 0.0433 JTO 0.614 ETHFI 0.4525 MERL 0.01745 ASTER 1.1
WLFI 0.19 PAXG 3350 MELANIA 0.2 MOODENG 0.13 GOAT 0.1 GRASS 0.95 SNT 0.027 ZRX 0.24 TRIA 0.021
KBONK 0.00319 KPEPE 0.0108 KSHIB 0.0129 KFLOKI 0.098 KLUNC 0.058 KNEIRO 0.37 KDOGS 0.14
"""
_WORDS: Final = _PRICES.split()
REFERENCE: Final = {f"{coin}/USDC:USDC": Decimal(price) for coin, price in zip(_WORDS[::2], _WORDS[1::2], strict=True)}

_FILTERS: Final = """
binance     BTC  0.01    0.00001  0.00001 9000     162      0.01    1000000 5
binance     ETH  0.01    0.0001   0.0001  9000     3027     0.01    1000000 5
binance     ADA  0.0001  0.1      0.1     900000   900000   0.0001  1000    5
binance     LTC  0.01    0.001    0.001   90000    7171     0.01    100000  5
binance     XRP  0.0001  0.1      0.1     9222449  2514623  0.0001  10000   5
binance     DOGE 0.00001 1        1       9000000  9000000  0.00001 1000    1
binance     TRX  0.0001  0.1      0.1     9000000  3712481  0.0001  1000    5
binance     SOL  0.01    0.001    0.001   90000    74129    0.01    10000   5
binanceusdm BTC  0.10    0.001    0.001   1000     120      556.80  4529764 50
binanceusdm ETH  0.01    0.001    0.001   10000    2000     39.86   306177  20
binanceusdm LTC  0.01    0.001    0.001   20000    5000     0.01    100000  20
binanceusdm ADA  0.00010 1        1       30000000 3000000  0.00010 20000   5
binanceusdm XRP  0.0001  0.1      0.1     10000000 2000000  0.0143  100000  5
binanceusdm DOGE 0.000010 1       1       300000000 30000000 0.002440 30    5
binanceusdm TRX  0.00001 1        1       20000000 5000000  0.00132 20000   5
bybit       BTC  0.1     0.000001 0.000001 230     120      0.1     1999999 5
bybit       ETH  0.01    0.00001  0.00001 2600     1300     0.01    199999  5
bybit       ADA  0.0001  0.01     0.01    7600000  1500000  0.0001  1999    5
bybit       LTC  0.01    0.00001  0.00001 10000    5200     0.01    199999  5
bybit       XRP  0.0001  0.01     0.01    1200000  620000   0.0001  1999    5
bybit       DOGE 0.00001 0.1      0.1     14000000 6800000  0.00001 199     5
bybit       TRX  0.0001  0.01     0.01    1625000  812500   0.0001  199     5
bybitlinear BTC  0.10    0.001    0.001   1500     150      0.10    1999999.80 5
bybitlinear ETH  0.01    0.01     0.01    10000    2000     0.01    199999.98  5
bybitlinear LTC  0.01    0.1      0.1     8800     3000     0.01    199999.98  5
bybitlinear ADA  0.0001  1        1       1500000  590000   0.0001  1999.9998  5
bybitlinear XRP  0.0001  0.1      0.1     7500000  1500000  0.0001  1999.9998  5
bybitlinear DOGE 0.00001 1        1       43678900 5991100  0.00001 199.99998  5
bybitlinear TRX  0.00001 1        1       1500000  460000   0.00001 199.99998  5
"""
"""Venue, coin, tick, step, minimum, maximum, market maximum, lowest and highest price, minimum notional."""
_REAL: Final = {(row[0], row[1]): [Decimal(word) for word in row[2:]] for row in (line.split() for line in _FILTERS.split("\n") if line)}

_HIGH_LEVERAGE: Final = {"BTC": 125, "ETH": 100, "SOL": 100, "XRP": 75, "DOGE": 75, "ADA": 75, "TRX": 75, "LTC": 50}
_SMALLEST_TICK: Final = Decimal("1e-8")


def _habit(venue: str, price: Decimal) -> list[Decimal]:
    """Filters for a market of this price scale, in the order of the table above."""
    scale = price.adjusted()
    tick = Decimal(1).scaleb(scale - 4)
    step = Decimal(1).scaleb(-scale - (2 if venue in SPOT_VENUES else 1))
    if venue == "binance":
        tick = max(tick, _SMALLEST_TICK)
    step = min(step, Decimal(1))
    largest = Decimal(1).scaleb(7 - scale)
    return [tick, step, step, largest, largest / 5, tick, Decimal(1).scaleb(scale + 3), Decimal(5)]


def _market(venue: str, symbol: str, coin: str, factor: Decimal) -> Market:
    base = symbol.partition("/")[0]
    real = _REAL.get((venue, base)) or _habit(venue, REFERENCE[coin] * factor)
    leverage = min(_HIGH_LEVERAGE.get(base, 50), 100 if venue == "bybitlinear" else 125)
    tick, step, low, high, high_market, cheapest, dearest, least = real
    top = 1 if venue in SPOT_VENUES else leverage
    return Market(venue, f"{base}USDT", symbol, base, coin, factor, tick, step, low, high, high_market, cheapest, dearest, least, top)


def build_markets() -> dict[str, dict[str, Market]]:
    """Venue to market id (`BTCUSDT`) to market: every market of the symbol table."""
    markets: dict[str, dict[str, Market]] = {"binance": {}, "binanceusdm": {}, "bybit": {}, "bybitlinear": {}}
    for coin, venue, listing in mapped():
        if coin in REFERENCE:
            market = _market(venue, listing.venue_symbol, coin, listing.price_factor)
            markets[venue][market.id] = market
    return markets


def whale_price(markets: dict[str, dict[str, Market]], symbol: str, price: Decimal) -> tuple[str, Decimal] | None:
    """A whale's market and price as (coin of the path, price in its units); None when the market is mapped nowhere."""
    for venue, listed in markets.items():
        listing = lookup(symbol, venue)
        if listing is not None:
            market = listed[listing.venue_symbol.partition("/")[0] + "USDT"]
            return market.coin, price * listing.price_factor / market.price_factor
    return None
