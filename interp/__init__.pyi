from interp.analysis.batched_logistic import BatchedLogisticRegression as BatchedLogisticRegression
from interp.analysis.coordinate_removal import CoordinateRemoval as CoordinateRemoval
from interp.analysis.generator_erasure import GeneratorErasure as GeneratorErasure
from interp.analysis.harmful import harmful_components as harmful_components
from interp.analysis.head_removal import HeadRemoval as HeadRemoval
from interp.analysis.head_selection import HeadSelection as HeadSelection
from interp.analysis.leace import Leace as Leace
from interp.analysis.ranking import rank_heads as rank_heads
from interp.detectors.detector import Detector as Detector
from interp.detectors.detector import load_detector as load_detector
from interp.detectors.linear import LinearDetector as LinearDetector
from interp.detectors.released import load_released_head as load_released_head
from interp.detectors.scoring import score_images as score_images
from interp.detectors.systems import make_system as make_system
from interp.encoders.encoder import Encoder as Encoder
from interp.encoders.families import Family as Family
from interp.encoders.layout import HeadLayout as HeadLayout
from interp.encoders.loading import load_encoder as load_encoder
from interp.encoders.pruning import pruned as pruned
from interp.encoders.readout import Decomposition as Decomposition
from interp.encoders.recorder import HeadRecorder as HeadRecorder
from interp.errors import InputError as InputError
from interp.evaluation.ablation import ablate as ablate
from interp.evaluation.arms import Arm as Arm
from interp.evaluation.audit import audit_images as audit_images
from interp.evaluation.placebos import Placebo as Placebo
from interp.evaluation.placebos import placebo_panel as placebo_panel
from interp.evaluation.robustness import robustness_curves as robustness_curves
from interp.evaluation.system_comparison import compare_systems as compare_systems
from interp.evaluation.transfer import evaluate_transfer as evaluate_transfer
from interp.explain.in_words import describe_detector as describe_detector
from interp.explain.in_words import describe_heads as describe_heads
from interp.explain.in_words import describe_removed as describe_removed
from interp.explain.text_encoder import load_text_encoder as load_text_encoder
from interp.features.extract import extract as extract
from interp.features.laundered import launder_stores as launder_stores
from interp.features.pixels import StoreWithImages as StoreWithImages
from interp.features.store import FeatureStore as FeatureStore
from interp.images.check import check_images as check_images
from interp.images.decode import read_image as read_image
from interp.images.equalize import Equalize as Equalize
from interp.images.image_set import ImageSet as ImageSet
from interp.images.laundering import Laundering as Laundering
from interp.images.preprocess import Preprocessing as Preprocessing
from interp.images.simulated import draw_simulated_set as draw_simulated_set
from interp.images.twins import make_twins as make_twins
from interp.main_job import run as run
from interp.protocol.splits import Protocol as Protocol
from interp.report.atlas import write_atlas as write_atlas
from interp.report.atlas_heads import head_atlas as head_atlas
from interp.report.explanation import explain_image as explain_image
from interp.report.set_explanation import explain_set as explain_set
from interp.reproduction import reproduce as reproduce

__version__: str
_HOME: dict[str, str]

__all__ = [
    "Arm",
    "BatchedLogisticRegression",
    "CoordinateRemoval",
    "Decomposition",
    "Detector",
    "Encoder",
    "Equalize",
    "Family",
    "FeatureStore",
    "GeneratorErasure",
    "HeadLayout",
    "HeadRecorder",
    "HeadRemoval",
    "HeadSelection",
    "ImageSet",
    "InputError",
    "Laundering",
    "Leace",
    "LinearDetector",
    "Placebo",
    "Preprocessing",
    "Protocol",
    "StoreWithImages",
    "__version__",
    "ablate",
    "audit_images",
    "check_images",
    "compare_systems",
    "describe_detector",
    "describe_heads",
    "describe_removed",
    "draw_simulated_set",
    "evaluate_transfer",
    "explain_image",
    "explain_set",
    "extract",
    "harmful_components",
    "head_atlas",
    "launder_stores",
    "load_detector",
    "load_encoder",
    "load_released_head",
    "load_text_encoder",
    "make_system",
    "make_twins",
    "placebo_panel",
    "pruned",
    "rank_heads",
    "read_image",
    "reproduce",
    "robustness_curves",
    "run",
    "score_images",
    "write_atlas",
]
