"""The classes of ComfyUI's core that a stranger's graph may use.

Chosen by hand, module by module, from ComfyUI 0.30.0: what makes still images. Left out are
output nodes, API nodes, training and dataset nodes, 3D, audio and video, and nodes whose cost
their inputs do not bound (string formatting and doubling, regular expressions). A new core
class is refused until it is added here, or allowed by the server's owner.
"""

from __future__ import annotations

from typing import Final

IMAGE_CLASSES: Final = frozenset(
    {
        # nodes.py
        "CLIPLoader",
        "CLIPSetLastLayer",
        "CLIPTextEncode",
        "CLIPVisionEncode",
        "CLIPVisionLoader",
        "CheckpointLoader",
        "CheckpointLoaderSimple",
        "ConditioningAverage",
        "ConditioningCombine",
        "ConditioningConcat",
        "ConditioningMultiply",
        "ConditioningSetArea",
        "ConditioningSetAreaPercentage",
        "ConditioningSetAreaStrength",
        "ConditioningSetMask",
        "ConditioningSetTimestepRange",
        "ConditioningZeroOut",
        "ControlNetApply",
        "ControlNetApplyAdvanced",
        "ControlNetLoader",
        "DiffControlNetLoader",
        "DualCLIPLoader",
        "EmptyImage",
        "EmptyLatentImage",
        "GLIGENLoader",
        "GLIGENTextBoxApply",
        "ImageBatch",
        "ImageInvert",
        "ImagePadForOutpaint",
        "ImageScale",
        "ImageScaleBy",
        "InpaintModelConditioning",
        "KSampler",
        "KSamplerAdvanced",
        "LatentBlend",
        "LatentComposite",
        "LatentCrop",
        "LatentFlip",
        "LatentFromBatch",
        "LatentRotate",
        "LatentUpscale",
        "LatentUpscaleBy",
        "LoadImage",
        "LoadImageMask",
        "LoraLoader",
        "LoraLoaderModelOnly",
        "RepeatLatentBatch",
        "SetLatentNoiseMask",
        "StyleModelApply",
        "StyleModelLoader",
        "UNETLoader",
        "VAEDecode",
        "VAEDecodeTiled",
        "VAEEncode",
        "VAEEncodeForInpaint",
        "VAEEncodeTiled",
        "VAELoader",
        "unCLIPCheckpointLoader",
        "unCLIPConditioning",
        # comfy_extras/nodes_advanced_samplers.py
        "SamplerEulerCFGpp",
        "SamplerLCM",
        "SamplerLCMUpscale",
        # comfy_extras/nodes_align_your_steps.py
        "AlignYourStepsScheduler",
        # comfy_extras/nodes_apg.py
        "APG",
        # comfy_extras/nodes_attention_multiply.py
        "CLIPAttentionMultiply",
        "UNetCrossAttentionMultiply",
        "UNetSelfAttentionMultiply",
        "UNetTemporalAttentionMultiply",
        # comfy_extras/nodes_canny.py
        "Canny",
        # comfy_extras/nodes_cfg.py
        "CFGNorm",
        "CFGZeroStar",
        # comfy_extras/nodes_chroma_radiance.py
        "ChromaRadianceOptions",
        "EmptyChromaRadianceLatentImage",
        # comfy_extras/nodes_clip_sdxl.py
        "CLIPTextEncodeSDXL",
        "CLIPTextEncodeSDXLRefiner",
        # comfy_extras/nodes_compositing.py
        "JoinImageWithAlpha",
        "PorterDuffImageComposite",
        "SplitImageWithAlpha",
        # comfy_extras/nodes_cond.py
        "CLIPTextEncodeControlnet",
        "T5TokenizerOptions",
        # comfy_extras/nodes_controlnet.py
        "ControlNetInpaintingAliMamaApply",
        "SetUnionControlNetType",
        # comfy_extras/nodes_custom_sampler.py
        "AddNoise",
        "BasicGuider",
        "BasicScheduler",
        "BetaSamplingScheduler",
        "CFGGuider",
        "CFGOverride",
        "DisableNoise",
        "DualCFGGuider",
        "DualModelGuider",
        "ExponentialScheduler",
        "ExtendIntermediateSigmas",
        "FlipSigmas",
        "KSamplerSelect",
        "KarrasScheduler",
        "LaplaceScheduler",
        "ManualSigmas",
        "PolyexponentialScheduler",
        "RandomNoise",
        "SDTurboScheduler",
        "SamplerCustom",
        "SamplerCustomAdvanced",
        "SamplerDPMAdaptative",
        "SamplerDPMPP_2M_SDE",
        "SamplerDPMPP_2S_Ancestral",
        "SamplerDPMPP_3M_SDE",
        "SamplerDPMPP_SDE",
        "SamplerER_SDE",
        "SamplerEulerAncestral",
        "SamplerEulerAncestralCFGPP",
        "SamplerLMS",
        "SamplerSASolver",
        "SamplerSEEDS2",
        "SamplingPercentToSigma",
        "SetFirstSigma",
        "SplitSigmas",
        "SplitSigmasDenoise",
        "VPScheduler",
        # comfy_extras/nodes_differential_diffusion.py
        "DifferentialDiffusion",
        # comfy_extras/nodes_edit_model.py
        "ReferenceLatent",
        # comfy_extras/nodes_eps.py
        "Epsilon Scaling",
        "TemporalScoreRescaling",
        # comfy_extras/nodes_flux.py
        "CLIPTextEncodeFlux",
        "EmptyFlux2LatentImage",
        "Flux2Scheduler",
        "FluxDisableGuidance",
        "FluxGuidance",
        "FluxKVCache",
        "FluxKontextImageScale",
        "FluxKontextMultiReferenceLatentMethod",
        # comfy_extras/nodes_freelunch.py
        "FreeU",
        "FreeU_V2",
        # comfy_extras/nodes_fresca.py
        "FreSca",
        # comfy_extras/nodes_gits.py
        "GITSScheduler",
        # comfy_extras/nodes_hidream.py
        "CLIPTextEncodeHiDream",
        "QuadrupleCLIPLoader",
        # comfy_extras/nodes_hooks.py
        "CombineHooks2",
        "CombineHooks4",
        "CombineHooks8",
        "ConditioningSetDefaultCombine",
        "ConditioningSetProperties",
        "ConditioningSetPropertiesAndCombine",
        "ConditioningTimestepsRange",
        "CreateHookKeyframe",
        "CreateHookKeyframesFromFloats",
        "CreateHookKeyframesInterpolated",
        "CreateHookLora",
        "CreateHookLoraModelOnly",
        "CreateHookModelAsLora",
        "CreateHookModelAsLoraModelOnly",
        "PairConditioningCombine",
        "PairConditioningSetDefaultCombine",
        "PairConditioningSetProperties",
        "PairConditioningSetPropertiesAndCombine",
        "SetClipHooks",
        "SetHookKeyframes",
        # comfy_extras/nodes_hypernetwork.py
        "HypernetworkLoader",
        # comfy_extras/nodes_hypertile.py
        "HyperTile",
        # comfy_extras/nodes_images.py
        "GetImageSize",
        "ImageAddNoise",
        "ImageCrop",
        "ImageCropV2",
        "ImageFlip",
        "ImageFromBatch",
        "ImageMergeTileList",
        "ImageRotate",
        "ImageScaleToMaxDimension",
        "ImageStitch",
        "PrimitiveBoundingBox",
        "RepeatImageBatch",
        "ResizeAndPadImage",
        "SplitImageToTileList",
        # comfy_extras/nodes_ip2p.py
        "InstructPixToPixConditioning",
        # comfy_extras/nodes_latent.py
        "LatentAdd",
        "LatentApplyOperation",
        "LatentApplyOperationCFG",
        "LatentBatch",
        "LatentBatchSeedBehavior",
        "LatentConcat",
        "LatentCut",
        "LatentCutToBatch",
        "LatentInterpolate",
        "LatentMultiply",
        "LatentOperationSharpen",
        "LatentOperationTonemapReinhard",
        "LatentSubtract",
        "ReplaceVideoLatentFrames",
        # comfy_extras/nodes_lora_debug.py
        "LoraLoaderBypass",
        "LoraLoaderBypassModelOnly",
        # comfy_extras/nodes_lumina2.py
        "CLIPTextEncodeLumina2",
        "RenormCFG",
        # comfy_extras/nodes_mahiro.py
        "Mahiro",
        # comfy_extras/nodes_mask.py
        "CropMask",
        "FeatherMask",
        "GrowMask",
        "ImageColorToMask",
        "ImageCompositeMasked",
        "ImageToMask",
        "InvertMask",
        "LatentCompositeMasked",
        "MaskComposite",
        "MaskToImage",
        "SolidMask",
        "ThresholdMask",
        # comfy_extras/nodes_model_advanced.py
        "ModelComputeDtype",
        "ModelNoiseScale",
        "ModelSamplingAuraFlow",
        "ModelSamplingContinuousEDM",
        "ModelSamplingContinuousV",
        "ModelSamplingDiscrete",
        "ModelSamplingFlux",
        "ModelSamplingSD3",
        "ModelSamplingStableCascade",
        "RescaleCFG",
        # comfy_extras/nodes_model_downscale.py
        "PatchModelAddDownscale",
        # comfy_extras/nodes_model_merging.py
        "CLIPMergeAdd",
        "CLIPMergeSimple",
        "CLIPMergeSubtract",
        "ModelMergeAdd",
        "ModelMergeBlocks",
        "ModelMergeSimple",
        "ModelMergeSubtract",
        # comfy_extras/nodes_morphology.py
        "ImageRGBToYUV",
        "ImageYUVToRGB",
        "Morphology",
        # comfy_extras/nodes_nag.py
        "NAGuidance",
        # comfy_extras/nodes_optimalsteps.py
        "OptimalStepsScheduler",
        # comfy_extras/nodes_pag.py
        "PerturbedAttentionGuidance",
        # comfy_extras/nodes_perpneg.py
        "PerpNeg",
        "PerpNegGuider",
        # comfy_extras/nodes_pixart.py
        "CLIPTextEncodePixArtAlpha",
        # comfy_extras/nodes_post_processing.py
        "BatchImagesNode",
        "BatchLatentsNode",
        "BatchMasksNode",
        "ColorTransfer",
        "ImageBlend",
        "ImageBlur",
        "ImageQuantize",
        "ImageScaleToTotalPixels",
        "ImageSharpen",
        "ResizeImageMaskNode",
        # comfy_extras/nodes_primitive.py
        "PrimitiveBoolean",
        "PrimitiveFloat",
        "PrimitiveInt",
        "PrimitiveString",
        "PrimitiveStringMultiline",
        # comfy_extras/nodes_qwen.py
        "EmptyQwenImageLayeredLatentImage",
        "TextEncodeQwenImageEdit",
        "TextEncodeQwenImageEditPlus",
        # comfy_extras/nodes_rebatch.py
        "RebatchImages",
        "RebatchLatents",
        # comfy_extras/nodes_resolution.py
        "ResolutionSelector",
        # comfy_extras/nodes_sag.py
        "SelfAttentionGuidance",
        # comfy_extras/nodes_sd3.py
        "CLIPTextEncodeSD3",
        "ControlNetApplySD3",
        "EmptySD3LatentImage",
        "SkipLayerGuidanceSD3",
        "TripleCLIPLoader",
        # comfy_extras/nodes_sdupscale.py
        "SD_4XUpscale_Conditioning",
        # comfy_extras/nodes_seed.py
        "SeedNode",
        # comfy_extras/nodes_slg.py
        "SkipLayerGuidanceDiT",
        "SkipLayerGuidanceDiTSimple",
        # comfy_extras/nodes_stable_cascade.py
        "StableCascade_EmptyLatentImage",
        "StableCascade_StageB_Conditioning",
        "StableCascade_StageC_VAEEncode",
        "StableCascade_SuperResolutionControlnet",
        # comfy_extras/nodes_tcfg.py
        "TCFG",
        # comfy_extras/nodes_tomesd.py
        "TomePatchModel",
        # comfy_extras/nodes_upscale_model.py
        "ImageUpscaleWithModel",
        "UpscaleModelLoader",
        # comfy_extras/nodes_zimage.py
        "TextEncodeZImageOmni",
    }
)
"""Class types, as prompts name them."""
