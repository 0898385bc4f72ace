"""Times in DER, in and out, as seconds since 1970; without the GIL but for `moment`."""

from libc.stdint cimport int64_t

from responder._native.der cimport TLV, Bytes, Out, put_header, room_for, whole

cdef enum:
    UTC_TIME = 0x17
    GENERALIZED_TIME = 0x18


ctypedef struct Calendar:
    int year
    int month
    int day
    int hour
    int minute
    int second
    int weekday          # 0 is Sunday


cdef inline int two_digits(Bytes digits) noexcept nogil:
    """0 to 99, or -1."""
    if not 48 <= digits[0] <= 57 or not 48 <= digits[1] <= 57:
        return -1
    return (digits[0] - 48) * 10 + digits[1] - 48


cdef inline bint read_moment(const TLV* value, int64_t* seconds) noexcept nogil:
    """A UTCTime or GeneralizedTime as RFC 5280 §4.1.2.5 has it, in seconds since 1970."""
    cdef Bytes at = value.content
    cdef int64_t year
    cdef int high, low, month, day, hour, minute, second, month_days
    cdef int64_t era, day_of_era
    if value.tag == UTC_TIME and value.length == 13:
        low = two_digits(at)
        if low < 0:
            return False
        year = 1900 + low if low >= 50 else 2000 + low
    elif value.tag == GENERALIZED_TIME and value.length == 15:
        high, low = two_digits(at), two_digits(at + 2)
        if high < 0 or low < 0:
            return False
        year = high * 100 + low
        at += 2
    else:
        return False
    at += 2
    month, day, hour = two_digits(at), two_digits(at + 2), two_digits(at + 4)
    minute, second = two_digits(at + 6), two_digits(at + 8)
    if not 1 <= month <= 12 or not 0 <= hour <= 23 or not 0 <= minute <= 59 or not 0 <= second <= 59 or at[10] != 90:
        return False
    month_days = 31
    if month == 4 or month == 6 or month == 9 or month == 11:
        month_days = 30
    elif month == 2:
        month_days = 29 if year % 4 == 0 and (year % 100 or year % 400 == 0) else 28
    if not 1 <= day <= month_days:
        return False
    # The same calendar as set_calendar: years begin in March, in eras of 400.
    if month <= 2:
        year -= 1
    era = year // 400 if year >= 0 else (year - 399) // 400
    day_of_era = (year - era * 400) * 365 + (year - era * 400) // 4 - (year - era * 400) // 100
    day_of_era += (153 * (month - 3 if month > 2 else month + 9) + 2) // 5 + day - 1
    seconds[0] = (era * 146097 + day_of_era - 719468) * 86400 + hour * 3600 + minute * 60 + second
    return True


cdef inline void write_two(unsigned char* at, int value) noexcept nogil:
    at[0] = <unsigned char> (48 + value // 10)
    at[1] = <unsigned char> (48 + value % 10)


cdef inline void set_calendar(Calendar* day, int64_t seconds) noexcept nogil:
    """The parts of a time, seconds since 1970, in the proleptic Gregorian calendar."""
    cdef int64_t days = seconds // 86400
    cdef int rest = <int> (seconds - days * 86400)
    cdef int64_t era
    cdef int day_of_era, year_of_era, day_of_year, month_index
    if rest < 0:
        rest += 86400
        days -= 1
    day.weekday = <int> ((days + 4) % 7)
    if day.weekday < 0:
        day.weekday += 7
    # In eras of 400 years that begin in March.
    days += 719468
    era = days // 146097 if days >= 0 else (days - 146096) // 146097
    day_of_era = <int> (days - era * 146097)
    year_of_era = (day_of_era - day_of_era // 1460 + day_of_era // 36524 - day_of_era // 146096) // 365
    day_of_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    month_index = (5 * day_of_year + 2) // 153
    day.day = day_of_year - (153 * month_index + 2) // 5 + 1
    day.month = month_index + 3 if month_index < 10 else month_index - 9
    day.year = <int> (year_of_era + era * 400) + (1 if day.month <= 2 else 0)
    day.hour, day.minute, day.second = rest // 3600, rest // 60 % 60, rest % 60


cdef inline void put_moment(Out* out, int64_t seconds, int year_digits) noexcept nogil:
    """The digits and the Z of a time, seconds since 1970."""
    cdef Calendar day
    cdef unsigned char* at = room_for(out, <size_t> year_digits + 11)
    if at == NULL:
        return
    set_calendar(&day, seconds)
    if year_digits == 4:
        write_two(at, day.year // 100)
        at += 2
    write_two(at, day.year % 100)
    write_two(at + 2, day.month)
    write_two(at + 4, day.day)
    write_two(at + 6, day.hour)
    write_two(at + 8, day.minute)
    write_two(at + 10, day.second)
    at[12] = 90  # Z


cdef inline void put_generalized_time(Out* out, int64_t seconds) noexcept nogil:
    """YYYYMMDDHHMMSSZ, no fractions (RFC 5280 §4.1.2.5.2)."""
    put_moment(out, seconds, 4)
    put_header(out, GENERALIZED_TIME, 15)


cdef inline void put_time(Out* out, int64_t seconds) noexcept nogil:
    """UTCTime through 2049, GeneralizedTime from 2050 (RFC 5280 §5.1.2.4)."""
    # until 2050-01-01T00:00:00Z, in days: the seconds are more than a C int literal holds
    if seconds < <int64_t> 29220 * 86400:
        put_moment(out, seconds, 2)
        put_header(out, UTC_TIME, 13)
    else:
        put_generalized_time(out, seconds)


cdef inline int64_t moment(str name, object seconds) except -1:
    """Seconds since 1970 that both ASN.1 times and our records can say.

    Raises:
        ValueError: another number.
    """
    whole(name, seconds)
    if not 0 <= seconds <= 253402300799:  # 9999-12-31T23:59:59Z
        raise ValueError(f"{name} {seconds} isn't between the years 1970 and 9999")
    return seconds
