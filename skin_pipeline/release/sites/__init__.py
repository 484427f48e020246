"""Profiles of sites: how a released version is used on images of another clinic.

A threshold does not travel: on images of other cameras and patients it finds nearly everything and
excludes nearly nothing, or the reverse. So from some labelled images of a site the probabilities
are recalibrated, the threshold is set anew, and what that will reach there is told with intervals.
The version stays as it is; the profile is a document beside it, numbered, and signed if versions
are. `predict`, batch scoring and monitoring use it.

The modules, in reading order:

    recalibration   from a version's probability to the probability at a site
    operating       the operating point from labelled images, what it will reach, and refusals
    profiles        the documents: written once, numbered, signed, checked when they are used
    wording         profiles in words and tables

`release.site_making` goes from a place with labelled images to a profile. It is no part of this
package because it loads a model, and whoever loads a model reads profiles.
"""

from skin_pipeline.release.sites.operating import Aim, Labelled, OperatingPoint, operating_point
from skin_pipeline.release.sites.profiles import WIDTH, Profiles, log_threshold, named_sites
from skin_pipeline.release.sites.recalibration import Recalibration
from skin_pipeline.release.sites.wording import described, shown, table

__all__ = [
    "WIDTH",
    "Aim",
    "Labelled",
    "OperatingPoint",
    "Profiles",
    "Recalibration",
    "described",
    "log_threshold",
    "named_sites",
    "operating_point",
    "shown",
    "table",
]
